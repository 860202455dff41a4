//! Which names of advisories a detected product goes by: our own table.
//!
//! Detection says `Apache httpd`, its CVE records say `Apache Software Foundation` / `Apache HTTP Server`, NVD says
//! `apache:http_server`, Debian says `apache2`. These are facts about names; a product that is not here is looked up
//! by its CPE names, and by its own name as a guess.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::advisory::product_key;
use super::cpe::Part;
use super::version::Scheme;

/// One product and its names.
#[derive(Debug)]
pub struct Product {
    /// What detection calls it, in lower case; the first is the usual one.
    pub names: &'static [&'static str],
    /// What advisories call it, as [`product_key`] writes it; the first is NVD's.
    pub keys: &'static [&'static str],
    /// The source packages that distributions ship it as.
    pub packages: &'static [&'static str],
}

/// The product that detection calls `name`, or whose CPE name has the key `key`.
#[must_use]
pub fn find(name: Option<&str>, key: Option<&str>) -> Option<&'static Product> {
    let known = &*KNOWN;
    let by_name = name.and_then(|name| known.by_name.get(name.trim().to_lowercase().as_str()));
    by_name.or_else(|| known.by_key.get(key?)).copied()
}

/// The table, to be asked: every service of a job asks it.
static KNOWN: LazyLock<Known> = LazyLock::new(|| {
    let by = |words: fn(&Product) -> &'static [&'static str]| {
        PRODUCTS.iter().flat_map(|product| words(product).iter().map(move |word| (*word, product))).collect()
    };
    Known { by_name: by(|product| product.names), by_key: by(|product| product.keys) }
});

struct Known {
    by_name: HashMap<&'static str, &'static Product>,
    by_key: HashMap<&'static str, &'static Product>,
}

/// The key that a product gets which nobody knows: its own name as its maker's.
#[must_use]
pub fn guessed_key(name: &str) -> String {
    product_key(name, name)
}

/// How the versions of the product behind `key` are ordered.
#[must_use]
pub fn scheme_of(key: &str) -> Scheme {
    own_scheme_of(key).unwrap_or_default()
}

/// The scheme of a product that keeps one of its own.
#[must_use]
pub fn own_scheme_of(key: &str) -> Option<Scheme> {
    match key {
        "openssl:openssl" => Some(Scheme::OpenSsl),
        "openbsd:openssh" | "openssh:openssh" => Some(Scheme::OpenSsh),
        _ => None,
    }
}

/// Whether what this product tells of its version is always all of it: `4.94` of Exim is not short for `4.94.2`.
#[must_use]
pub fn tells_whole_versions(key: &str) -> bool {
    matches!(key, "exim:exim")
}

/// What kind of thing the product behind `key` is: a program, but for the systems that this table knows by their words.
#[must_use]
pub fn part_of(key: &str) -> Part {
    match key {
        "cisco:ios"
        | "cisco:cisco_ios_software"
        | "cisco:ios_software"
        | "fortinet:fortios"
        | "mikrotik:routeros"
        | "vmware:esxi" => Part::System,
        _ => Part::Application,
    }
}

/// Whether all releases of this product have three places, so that one that tells two leaves one out: `Apache/2.4`.
#[must_use]
pub fn has_three_places(key: &str) -> bool {
    matches!(
        key,
        "apache:http_server"
            | "apache:tomcat"
            | "f5:nginx"
            | "php:php"
            | "python:python"
            | "ruby-lang:ruby"
            | "perl:perl"
            | "lighttpd:lighttpd"
            | "eclipse:jetty"
            | "nodejs:node.js"
            | "openssl:openssl"
    )
}

/// Products by the names that are known of them.
#[rustfmt::skip]
const PRODUCTS: &[Product] = &[
    Product { names: &["openssh"], keys: &["openbsd:openssh", "openssh:openssh"], packages: &["openssh"] },
    Product { names: &["openssl"], keys: &["openssl:openssl"], packages: &["openssl"] },
    Product { names: &["dropbear sshd", "dropbear"], keys: &["dropbear_ssh_project:dropbear_ssh", "dropbear_ssh_project:dropbear", "matt_johnston:dropbear_ssh"], packages: &["dropbear"] },
    Product { names: &["libssh"], keys: &["libssh:libssh"], packages: &["libssh"] },
    Product { names: &["nginx"], keys: &["f5:nginx", "nginx:nginx", "f5:nginx_open_source"], packages: &["nginx"] },
    Product { names: &["apache httpd", "apache", "apache http server"], keys: &["apache:http_server", "apache_software_foundation:apache_http_server"], packages: &["apache2", "httpd"] },
    Product { names: &["apache tomcat", "tomcat"], keys: &["apache:tomcat", "apache_software_foundation:apache_tomcat"], packages: &["tomcat9", "tomcat10", "tomcat"] },
    Product { names: &["lighttpd"], keys: &["lighttpd:lighttpd"], packages: &["lighttpd"] },
    Product { names: &["microsoft iis httpd", "microsoft iis", "iis"], keys: &["microsoft:internet_information_services", "microsoft:internet_information_server", "microsoft:iis"], packages: &[] },
    Product { names: &["caddy httpd", "caddy"], keys: &["caddyserver:caddy"], packages: &["caddy"] },
    Product { names: &["haproxy http proxy", "haproxy"], keys: &["haproxy:haproxy"], packages: &["haproxy"] },
    Product { names: &["squid http proxy", "squid"], keys: &["squid-cache:squid"], packages: &["squid"] },
    Product { names: &["varnish http accelerator", "varnish"], keys: &["varnish-software:varnish_cache", "varnish_cache_project:varnish_cache"], packages: &["varnish"] },
    Product { names: &["traefik"], keys: &["traefik:traefik"], packages: &["traefik"] },
    Product { names: &["envoy"], keys: &["envoyproxy:envoy"], packages: &["envoy"] },
    Product { names: &["tinyproxy"], keys: &["tinyproxy_project:tinyproxy"], packages: &["tinyproxy"] },
    Product { names: &["jetty"], keys: &["eclipse:jetty", "eclipse_foundation:jetty"], packages: &["jetty9", "jetty"] },
    Product { names: &["oracle weblogic", "weblogic"], keys: &["oracle:weblogic_server", "oracle_corporation:weblogic_server"], packages: &[] },
    Product { names: &["php"], keys: &["php:php", "php_group:php"], packages: &["php8.2", "php7.4", "php8.1", "php"] },
    Product { names: &["vsftpd"], keys: &["vsftpd_project:vsftpd", "beasts:vsftpd"], packages: &["vsftpd"] },
    Product { names: &["proftpd"], keys: &["proftpd:proftpd"], packages: &["proftpd-dfsg", "proftpd"] },
    Product { names: &["pure-ftpd"], keys: &["pureftpd:pure-ftpd"], packages: &["pure-ftpd"] },
    Product { names: &["filezilla ftpd", "filezilla server"], keys: &["filezilla-project:filezilla_server"], packages: &[] },
    Product { names: &["postfix smtpd", "postfix"], keys: &["postfix:postfix"], packages: &["postfix"] },
    Product { names: &["exim smtpd", "exim"], keys: &["exim:exim"], packages: &["exim4", "exim"] },
    Product { names: &["sendmail"], keys: &["sendmail:sendmail"], packages: &["sendmail"] },
    Product { names: &["opensmtpd"], keys: &["openbsd:opensmtpd", "opensmtpd:opensmtpd"], packages: &["opensmtpd"] },
    Product { names: &["microsoft exchange smtpd", "microsoft exchange"], keys: &["microsoft:exchange_server"], packages: &[] },
    Product { names: &["dovecot imapd", "dovecot pop3d", "dovecot"], keys: &["dovecot:dovecot"], packages: &["dovecot"] },
    Product { names: &["cyrus imapd", "cyrus imap"], keys: &["cyrus:imap", "cyrusimap:cyrus_imap"], packages: &["cyrus-imapd"] },
    Product { names: &["courier imapd", "courier"], keys: &["courier-mta:courier"], packages: &["courier"] },
    Product { names: &["isc bind", "bind"], keys: &["isc:bind", "isc:bind_9", "isc:bind9"], packages: &["bind9", "bind"] },
    Product { names: &["dnsmasq"], keys: &["thekelleys:dnsmasq"], packages: &["dnsmasq"] },
    Product { names: &["unbound"], keys: &["nlnetlabs:unbound", "nlnet_labs:unbound"], packages: &["unbound"] },
    Product { names: &["powerdns authoritative server", "powerdns"], keys: &["powerdns:authoritative_server", "powerdns:authoritative"], packages: &["pdns"] },
    Product { names: &["powerdns recursor"], keys: &["powerdns:recursor"], packages: &["pdns-recursor"] },
    Product { names: &["knot dns"], keys: &["nic:knot_dns", "cz.nic:knot_dns"], packages: &["knot"] },
    Product { names: &["rsync"], keys: &["samba:rsync", "rsyncproject:rsync", "rsync:rsync"], packages: &["rsync"] },
    Product { names: &["mysql"], keys: &["oracle:mysql", "oracle:mysql_server", "oracle_corporation:mysql_server", "mysql:mysql"], packages: &["mysql-8.0", "mysql"] },
    Product { names: &["mariadb"], keys: &["mariadb:mariadb", "mariadb:mariadb_server", "mariadb_foundation:mariadb"], packages: &["mariadb", "mariadb-10.5", "mariadb-10.3"] },
    Product { names: &["postgresql", "postgresql db"], keys: &["postgresql:postgresql", "n/a:postgresql"], packages: &["postgresql-15", "postgresql-14", "postgresql-13", "postgresql-17", "postgresql"] },
    Product { names: &["microsoft sql server", "mssql"], keys: &["microsoft:sql_server"], packages: &[] },
    Product { names: &["mongodb"], keys: &["mongodb:mongodb", "mongodb_inc:mongodb_server", "mongodb_inc.:mongodb_server"], packages: &["mongodb"] },
    Product { names: &["redis key-value store", "redis"], keys: &["redis:redis", "redislabs:redis"], packages: &["redis"] },
    Product { names: &["valkey"], keys: &["lfprojects:valkey", "valkey-io:valkey"], packages: &["valkey"] },
    Product { names: &["memcached"], keys: &["memcached:memcached"], packages: &["memcached"] },
    Product { names: &["elasticsearch", "elasticsearch rest api"], keys: &["elastic:elasticsearch", "elasticsearch:elasticsearch"], packages: &["elasticsearch"] },
    Product { names: &["opensearch"], keys: &["amazon:opensearch", "opensearch-project:opensearch"], packages: &[] },
    Product { names: &["kibana"], keys: &["elastic:kibana"], packages: &[] },
    Product { names: &["apache cassandra", "cassandra"], keys: &["apache:cassandra", "apache_software_foundation:apache_cassandra"], packages: &[] },
    Product { names: &["influxdb", "influxdb http admin"], keys: &["influxdata:influxdb"], packages: &["influxdb"] },
    Product { names: &["apache couchdb", "couchdb"], keys: &["apache:couchdb", "apache_software_foundation:apache_couchdb"], packages: &[] },
    Product { names: &["etcd"], keys: &["etcd:etcd", "etcd-io:etcd", "redhat:etcd"], packages: &["etcd"] },
    Product { names: &["apache zookeeper", "zookeeper"], keys: &["apache:zookeeper", "apache_software_foundation:apache_zookeeper"], packages: &["zookeeper"] },
    Product { names: &["hashicorp consul", "consul"], keys: &["hashicorp:consul"], packages: &["consul"] },
    Product { names: &["hashicorp vault", "vault"], keys: &["hashicorp:vault"], packages: &[] },
    Product { names: &["apache kafka", "kafka"], keys: &["apache:kafka", "apache_software_foundation:apache_kafka"], packages: &[] },
    Product { names: &["rabbitmq"], keys: &["vmware:rabbitmq", "pivotal_software:rabbitmq", "rabbitmq:rabbitmq-server"], packages: &["rabbitmq-server"] },
    Product { names: &["apache activemq", "activemq"], keys: &["apache:activemq", "apache_software_foundation:apache_activemq"], packages: &["activemq"] },
    Product { names: &["mosquitto", "mosquitto mqtt"], keys: &["eclipse:mosquitto", "eclipse_foundation:mosquitto"], packages: &["mosquitto"] },
    Product { names: &["emqx"], keys: &["emqx:emqx"], packages: &[] },
    Product { names: &["nats", "nats server"], keys: &["nats:nats_server", "linuxfoundation:nats-server", "nats-io:nats-server"], packages: &["nats-server"] },
    Product { names: &["openldap", "slapd"], keys: &["openldap:openldap"], packages: &["openldap"] },
    Product { names: &["samba smbd", "samba"], keys: &["samba:samba"], packages: &["samba"] },
    Product { names: &["xrdp"], keys: &["neutrinolabs:xrdp"], packages: &["xrdp"] },
    Product { names: &["tigervnc"], keys: &["tigervnc:tigervnc"], packages: &["tigervnc"] },
    Product { names: &["realvnc"], keys: &["realvnc:realvnc"], packages: &[] },
    Product { names: &["net-snmp", "net-snmp snmpd"], keys: &["net-snmp:net-snmp"], packages: &["net-snmp"] },
    Product { names: &["ntpd", "ntp"], keys: &["ntp:ntp"], packages: &["ntp"] },
    Product { names: &["ntpsec"], keys: &["ntpsec:ntpsec"], packages: &["ntpsec"] },
    Product { names: &["chrony"], keys: &["tuxfamily:chrony"], packages: &["chrony"] },
    Product { names: &["asterisk", "asterisk pbx"], keys: &["digium:asterisk", "asterisk:asterisk", "sangoma:asterisk"], packages: &["asterisk"] },
    Product { names: &["kamailio"], keys: &["kamailio:kamailio"], packages: &["kamailio"] },
    Product { names: &["ngircd"], keys: &["ngircd:ngircd"], packages: &["ngircd"] },
    Product { names: &["unrealircd"], keys: &["unrealircd:unrealircd"], packages: &[] },
    Product { names: &["prosody"], keys: &["prosody:prosody"], packages: &["prosody"] },
    Product { names: &["ejabberd"], keys: &["process-one:ejabberd"], packages: &["ejabberd"] },
    Product { names: &["docker", "docker engine"], keys: &["docker:docker", "moby:moby", "mobyproject:moby"], packages: &["docker.io", "docker"] },
    Product { names: &["kubernetes", "kubernetes api server"], keys: &["kubernetes:kubernetes"], packages: &["kubernetes"] },
    Product { names: &["prometheus"], keys: &["prometheus:prometheus"], packages: &["prometheus"] },
    Product { names: &["grafana"], keys: &["grafana:grafana", "grafana_labs:grafana"], packages: &["grafana"] },
    Product { names: &["jenkins"], keys: &["jenkins:jenkins", "jenkins_project:jenkins"], packages: &[] },
    Product { names: &["gitlab"], keys: &["gitlab:gitlab"], packages: &[] },
    Product { names: &["gitea"], keys: &["gitea:gitea", "go-gitea:gitea"], packages: &[] },
    Product { names: &["atlassian confluence", "confluence"], keys: &["atlassian:confluence_server", "atlassian:confluence_data_center", "atlassian:confluence", "atlassian:confluence_server_and_data_center"], packages: &[] },
    Product { names: &["atlassian jira", "jira"], keys: &["atlassian:jira", "atlassian:jira_server", "atlassian:jira_data_center", "atlassian:jira_server_and_data_center", "atlassian:jira_software_data_center", "atlassian:jira_software_server"], packages: &[] },
    Product { names: &["wordpress"], keys: &["wordpress:wordpress"], packages: &["wordpress"] },
    Product { names: &["drupal"], keys: &["drupal:drupal"], packages: &["drupal"] },
    Product { names: &["phpmyadmin"], keys: &["phpmyadmin:phpmyadmin"], packages: &["phpmyadmin"] },
    Product { names: &["webmin", "miniserv"], keys: &["webmin:webmin"], packages: &[] },
    Product { names: &["cups"], keys: &["openprinting:cups", "apple:cups"], packages: &["cups"] },
    Product { names: &["vmware esxi", "esxi"], keys: &["vmware:esxi"], packages: &[] },
    Product { names: &["vmware vcenter server", "vcenter"], keys: &["vmware:vcenter_server"], packages: &[] },
    Product { names: &["fortinet fortios", "fortios"], keys: &["fortinet:fortios"], packages: &[] },
    Product { names: &["citrix netscaler", "netscaler"], keys: &["citrix:netscaler_application_delivery_controller", "netscaler:adc"], packages: &[] },
    Product { names: &["f5 big-ip", "big-ip"], keys: &["f5:big-ip_access_policy_manager", "f5:big-ip"], packages: &[] },
    Product { names: &["cisco ios"], keys: &["cisco:ios", "cisco:cisco_ios_software", "cisco:ios_software"], packages: &[] },
    Product { names: &["mikrotik routeros", "routeros"], keys: &["mikrotik:routeros"], packages: &[] },
    Product { names: &["apache solr", "solr"], keys: &["apache:solr", "apache_software_foundation:apache_solr"], packages: &[] },
    Product { names: &["minio"], keys: &["minio:minio"], packages: &[] },
    Product { names: &["nexus repository", "sonatype nexus"], keys: &["sonatype:nexus_repository_manager"], packages: &[] },
    Product { names: &["werkzeug", "werkzeug httpd"], keys: &["palletsprojects:werkzeug", "pallets:werkzeug"], packages: &["python-werkzeug"] },
    Product { names: &["python", "cpython"], keys: &["python:python", "python_software_foundation:cpython"], packages: &[] },
    Product { names: &["perl"], keys: &["perl:perl"], packages: &["perl"] },
    Product { names: &["ruby"], keys: &["ruby-lang:ruby"], packages: &[] },
    Product { names: &["mod_perl"], keys: &["apache:mod_perl"], packages: &["libapache2-mod-perl2"] },
    Product { names: &["mod_wsgi"], keys: &["modwsgi:mod_wsgi", "graham_dumpleton:mod_wsgi"], packages: &["mod-wsgi"] },
    Product { names: &["mod_jk"], keys: &["apache:tomcat_jk_connector", "apache:mod_jk", "apache_software_foundation:apache_tomcat_connectors"], packages: &["libapache-mod-jk"] },
    Product { names: &["mod_fcgid"], keys: &["apache:mod_fcgid"], packages: &["libapache2-mod-fcgid"] },
    Product { names: &["mod_python"], keys: &["apache:mod_python"], packages: &[] },
    Product { names: &["phusion_passenger", "phusion passenger"], keys: &["phusion:passenger", "phusionpassenger:phusion_passenger"], packages: &["passenger"] },
    Product { names: &["subversion", "svn"], keys: &["apache:subversion", "apache_software_foundation:apache_subversion"], packages: &["subversion"] },
    Product { names: &["libressl"], keys: &["openbsd:libressl"], packages: &[] },
    Product { names: &["joomla!", "joomla"], keys: &["joomla:joomla!", "joomla:joomla", "joomla!_project:joomla!_cms"], packages: &[] },
    Product { names: &["mediawiki"], keys: &["mediawiki:mediawiki", "wikimedia_foundation:mediawiki"], packages: &["mediawiki"] },
    Product { names: &["typo3", "typo3 cms"], keys: &["typo3:typo3", "typo3:typo3_cms"], packages: &[] },
    Product { names: &["ghost"], keys: &["ghost:ghost", "tryghost:ghost"], packages: &[] },
    Product { names: &["moodle"], keys: &["moodle:moodle"], packages: &[] },
    Product { names: &["openresty"], keys: &["openresty:openresty"], packages: &[] },
    Product { names: &["node.js", "nodejs"], keys: &["nodejs:node.js", "nodejs:node"], packages: &["nodejs"] },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_and_key_belongs_to_one_product_and_is_as_it_is_looked_up() {
        let mut seen = std::collections::BTreeSet::new();
        for product in PRODUCTS {
            assert!(!product.keys.is_empty() && !product.names.is_empty());
            for name in product.names {
                assert!(*name == name.to_lowercase() && seen.insert(*name), "{name}");
            }
            for key in product.keys {
                let (vendor, name) = key.split_once(':').unwrap();
                assert!(product_key(vendor, name) == *key && seen.insert(*key), "{key}");
            }
        }
    }

    #[test]
    fn a_product_is_found_by_either_name() {
        assert_eq!(find(Some("Apache httpd"), None).unwrap().keys[0], "apache:http_server");
        assert_eq!(find(Some("something else"), Some("openbsd:openssh")).unwrap().names[0], "openssh");
        assert!(find(Some("no such thing"), Some("no:thing")).is_none());
        assert_eq!(guessed_key("Frob Server"), "frob_server:frob_server");
    }
}
