//! The edge of signing in by a provider: which one this node takes now, and its keys, fetched behind the requests and never by them.
//!
//! A request that names a key which is not known has them fetched once more, at most every few seconds; keys that cannot be fetched,
//! or are none, leave those of before. Nothing that a provider answers is followed elsewhere, and what it may send is bounded.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::compact::Look;
use super::fault::Fault;
use super::key_set::{KeySet, SET_BYTES_MAX};
use super::provider::{Person, Provider, Source};
use crate::data_dir::is_kept;
use crate::durable_file;
use crate::tls::{Trust, innermost, nobody};

/// How often keys are read again by themselves. Ours: providers show a key for hours before it signs and after.
const READ_EVERY: Duration = Duration::from_secs(600);
/// The same for a JWT whose key is not known: anybody can send one.
const UNKNOWN_EVERY: Duration = Duration::from_secs(5);
/// How long a fetch may take, from its first packet to its last.
const FETCHED_WITHIN: Duration = Duration::from_secs(10);

/// Signing in by a provider, as one node takes it. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct SignIn {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    taken: Mutex<Option<Taken>>,
    /// That keys are wanted: at the start, when another provider is taken, and for a key that is not known.
    wanted: Notify,
    /// How often something that let people in was taken away: the provider, or a key of its.
    withdrawn: watch::Sender<u64>,
}

/// What a person was let in by, as it was then. It holds until the provider is another, or has one of its keys no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word(u64);

#[derive(Debug, Clone)]
struct Taken {
    provider: Arc<Provider>,
    keys: Arc<KeySet>,
}

impl SignIn {
    /// Takes this provider from here on, or none. Keys in a file are read at once; those at an address as soon as
    /// [`Self::keep`] runs, and until then nobody signs in. A provider whose keys are where they were keeps them meanwhile.
    ///
    /// # Errors
    /// A sentence fragment: its file cannot be used, and what was taken before still is.
    pub fn take(&self, provider: Option<Provider>) -> Result<(), String> {
        let taken = match provider {
            None => None,
            Some(provider) => {
                let keys = match &provider.keys {
                    Source::File(path) => Arc::new(read_file(path)?),
                    Source::Url(_) => {
                        let before = self.taken().filter(|before| before.provider.keys == provider.keys);
                        before.map_or_else(Arc::default, |before| before.keys)
                    }
                };
                Some(Taken { provider: Arc::new(provider), keys })
            }
        };
        let mut now = self.inner.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let holds = match (&*now, &taken) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(before), Some(next)) => before.provider == next.provider && next.keys.has_all_of(&before.keys),
        };
        *now = taken;
        self.withdraw_unless(holds);
        drop(now);
        self.inner.wanted.notify_one();
        Ok(())
    }

    /// Whoever was let in before has to show something again, unless what let them in still holds. Under the lock of what is taken.
    fn withdraw_unless(&self, holds: bool) {
        if !holds {
            self.inner.withdrawn.send_modify(|times| *times += 1);
        }
    }

    /// Whether what let somebody in still would.
    #[must_use]
    pub fn holds(&self, word: Word) -> bool {
        *self.inner.withdrawn.borrow() == word.0
    }

    /// Tells when something that let people in was taken away.
    #[must_use]
    pub fn watch_withdrawn(&self) -> watch::Receiver<u64> {
        self.inner.withdrawn.subscribe()
    }

    fn taken(&self) -> Option<Taken> {
        self.inner.taken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Who showed a JWT, where the provider of this node says so, and by which word of its.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn read(&self, look: &Look<'_>, now_ms: u64) -> Result<(Person, Word), Fault> {
        // Before what is taken: what is withdrawn meanwhile is told late and not missed.
        let word = Word(*self.inner.withdrawn.borrow());
        let taken = self.taken().filter(|taken| look.issuer() == Some(taken.provider.issuer.as_str()));
        let Taken { provider, keys } = taken.ok_or(Fault::Issuer)?;
        let person = provider.read(&keys, look, now_ms);
        if person == Err(Fault::KeyUnknown) {
            self.inner.wanted.notify_one();
        }
        person.map(|person| (person, word))
    }

    /// Keeps the provider's keys fresh until `stop`.
    pub async fn keep(self, stop: CancellationToken) {
        let mut told = None;
        let mut last: Option<Instant> = None;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.inner.wanted.notified() => {}
                () = tokio::time::sleep(READ_EVERY) => {}
            }
            let Some(taken) = self.taken() else { continue };
            // The first keys are not waited for.
            let rest = last.filter(|_| !taken.keys.is_empty()).map(|last| UNKNOWN_EVERY.saturating_sub(last.elapsed()));
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(rest.unwrap_or_default()) => {}
            }
            last = Some(Instant::now());
            let fetched = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                fetched = read(&taken.provider.keys) => fetched,
            };
            match fetched {
                Ok(keys) => {
                    if told.take().is_some() || taken.keys.is_empty() {
                        tracing::info!(
                            issuer = taken.provider.issuer,
                            keys = keys.len(),
                            "sign-in by the provider works"
                        );
                    }
                    self.put(&taken, keys);
                }
                Err(why) => {
                    if told.as_ref() != Some(&why) {
                        tracing::warn!(
                            issuer = taken.provider.issuer,
                            why,
                            "the provider's keys cannot be read, those before hold on"
                        );
                    }
                    told = Some(why);
                    if taken.keys.is_empty() {
                        self.again(&stop).await;
                    }
                }
            }
        }
    }

    /// Wants keys once more after a while, where there are none.
    async fn again(&self, stop: &CancellationToken) {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = tokio::time::sleep(UNKNOWN_EVERY) => self.inner.wanted.notify_one(),
        }
    }

    /// Puts keys in, unless another provider was taken while they were fetched.
    fn put(&self, of: &Taken, keys: KeySet) {
        let mut taken = self.inner.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = taken.as_mut().filter(|taken| Arc::ptr_eq(&taken.provider, &of.provider)) {
            let holds = keys.has_all_of(&taken.keys);
            taken.keys = Arc::new(keys);
            self.withdraw_unless(holds);
        }
    }
}

async fn read(source: &Source) -> Result<KeySet, String> {
    match source {
        Source::Url(url) => {
            let fetched = tokio::time::timeout(FETCHED_WITHIN, fetch(url)).await;
            fetched.unwrap_or_else(|_elapsed| Err(format!("{url} did not answer within {FETCHED_WITHIN:?}")))
        }
        Source::File(path) => {
            let path = path.clone();
            // Files may be on a slow disk.
            let read = tokio::task::spawn_blocking(move || read_file(&path)).await;
            read.map_err(|error| error.to_string()).and_then(|read| read)
        }
    }
}

fn read_file(path: &Path) -> Result<KeySet, String> {
    use std::io::Read;
    let failed = |why: String| format!("{}: {why}", path.display());
    // Whoever may change it signs for anybody.
    is_kept(path).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    let file = durable_file::regular(path).map_err(|error| failed(error.to_string()))?;
    let most = u64::try_from(SET_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    file.take(most).read_to_end(&mut bytes).map_err(|error| failed(error.to_string()))?;
    KeySet::read(&bytes).map_err(|error| failed(error.to_string()))
}

/// Fetches a set. No redirection is followed and no proxy asked: whoever answers there is who was named.
async fn fetch(url: &str) -> Result<KeySet, String> {
    let failed = |why: String| format!("{url}: {why}");
    let tls = match url.starts_with("https://") {
        true => Trust::default().config().map_err(|error| failed(error.to_string()))?,
        false => nobody(),
    };
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(FETCHED_WITHIN)
        .user_agent(concat!("pentora/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| failed(error.to_string()))?;
    let answer = client.get(url).send().await.map_err(|error| failed(innermost(&error)))?;
    if answer.status() != reqwest::StatusCode::OK {
        return Err(failed(format!("it answers with status {}", answer.status().as_u16())));
    }
    let (mut bytes, mut pieces) = (Vec::new(), answer.bytes_stream());
    while let Some(piece) = pieces.next().await {
        bytes.extend_from_slice(&piece.map_err(|error| failed(innermost(&error)))?);
        if bytes.len() > SET_BYTES_MAX {
            break;
        }
    }
    KeySet::read(&bytes).map_err(|error| failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use axum::Router;
    use axum::http::StatusCode;
    use axum::routing::get;
    use serde_json::{Value, json};
    use tokio::task::JoinSet;

    use super::super::look;
    use super::super::made::{Issuer, Kind, provider_of, shown, write_keys};
    use super::*;

    const NOW_MS: u64 = 1_700_000_000_000;

    /// What an issuer on loopback shows, and how often it was asked.
    #[derive(Clone, Default)]
    struct Shows {
        answer: Arc<Mutex<(u16, String)>>,
        asked: Arc<AtomicU32>,
    }

    impl Shows {
        fn set(&self, status: u16, body: impl Into<String>) {
            *self.answer.lock().unwrap() = (status, body.into());
        }

        fn keys(&self, of: &[&Issuer]) {
            self.set(200, shown(of));
        }

        /// Serves until the tasks end; answers with the provider whose keys these are.
        async fn serve(&self, tasks: &mut JoinSet<()>) -> Provider {
            let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let issuer = format!("http://{}", socket.local_addr().unwrap());
            let shows = self.clone();
            let show = move || {
                let shows = shows.clone();
                async move {
                    shows.asked.fetch_add(1, Ordering::SeqCst);
                    let (status, body) = shows.answer.lock().unwrap().clone();
                    (StatusCode::from_u16(status).unwrap(), [("location", "/elsewhere")], body)
                }
            };
            let router = Router::new().route("/.well-known/jwks.json", get(show));
            tasks.spawn(async move { axum::serve(socket, router).await.unwrap() });
            let keys = Source::url(&format!("{issuer}/.well-known/jwks.json")).unwrap();
            Provider { keys, issuer, ..provider_of(Path::new("")) }
        }
    }

    fn claims(provider: &Provider) -> Value {
        json!({"iss": provider.issuer, "aud": "pentora", "sub": "alice", "groups": ["ops"], "exp": NOW_MS / 1000 + 60})
    }

    /// Asks until it is answered so.
    async fn until(sign_in: &SignIn, jwt: &str, expected: Result<(), &str>) {
        let asked = async {
            loop {
                let told = sign_in.read(&look(jwt).unwrap(), NOW_MS).map(|_| ()).map_err(|fault| fault.code());
                if told == expected {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), asked).await.expect("it is answered so in the end");
    }

    #[test]
    fn keys_in_a_pipe_keep_nobody_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("keys.json");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRUSR | nix::sys::stat::Mode::S_IWUSR).unwrap();
        let why = read_file(&pipe).unwrap_err();
        assert!(why.contains("keys.json: it is no regular file"), "{why}");
    }

    #[tokio::test]
    async fn people_sign_in_by_an_issuer_on_loopback_and_keys_that_fail_leave_those_before() {
        let (shows, mut tasks, stop) = (Shows::default(), JoinSet::new(), CancellationToken::new());
        let (first, second) = (Issuer::new(Kind::Rsa), Issuer::new(Kind::P256));
        shows.set(503, "not yet");
        let provider = shows.serve(&mut tasks).await;
        let sign_in = SignIn::default();
        let jwt = first.sign(&claims(&provider));
        assert_eq!(sign_in.read(&look(&jwt).unwrap(), NOW_MS), Err(Fault::Issuer), "none is taken");
        sign_in.take(Some(provider.clone())).unwrap();
        assert_eq!(sign_in.read(&look(&jwt).unwrap(), NOW_MS), Err(Fault::KeyUnknown), "no keys are there yet");
        shows.keys(&[&first]);
        tasks.spawn(sign_in.clone().keep(stop.clone()));
        until(&sign_in, &jwt, Ok(())).await;
        let asked = shows.asked.load(Ordering::SeqCst);
        // Strangers send what they like: that fetches nothing more than every so often.
        let unknown = second.sign(&claims(&provider));
        for _ in 0..1_000 {
            assert_eq!(sign_in.read(&look(&unknown).unwrap(), NOW_MS), Err(Fault::KeyUnknown));
        }
        for (status, body) in [(302, String::new()), (200, "x".repeat(SET_BYTES_MAX + 1)), (200, "{}".into())] {
            shows.set(status, body);
            assert!(read(&provider.keys).await.is_err());
            assert!(sign_in.read(&look(&jwt).unwrap(), NOW_MS).is_ok(), "the keys of before hold on");
        }
        shows.keys(&[&first, &second]);
        assert!(shows.asked.load(Ordering::SeqCst) <= asked + 4, "three of these were asked here");
        until(&sign_in, &unknown, Ok(())).await;
        sign_in.take(None).unwrap();
        assert_eq!(sign_in.read(&look(&jwt).unwrap(), NOW_MS), Err(Fault::Issuer), "not any more");
        stop.cancel();
        tasks.shutdown().await;
    }

    #[tokio::test]
    async fn keys_from_a_file_count_at_once_and_a_file_that_is_none_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jwks.json");
        let issuer = Issuer::new(Kind::Ed25519);
        let provider = provider_of(&path);
        let sign_in = SignIn::default();
        assert!(sign_in.take(Some(provider.clone())).unwrap_err().contains("jwks.json"), "there is none");
        write_keys(&path, &[&issuer]);
        sign_in.take(Some(provider.clone())).unwrap();
        let jwt = issuer.sign(&claims(&provider));
        let (_, word) = sign_in.read(&look(&jwt).unwrap(), NOW_MS).unwrap();
        std::fs::write(&path, "{}").unwrap();
        assert!(sign_in.take(Some(Provider { audience: "other".into(), ..provider.clone() })).is_err());
        assert_eq!(sign_in.read(&look(&jwt).unwrap(), NOW_MS).unwrap().1, word, "what was taken before still is");
        let second = Issuer::new(Kind::P256);
        write_keys(&path, &[&second, &issuer]);
        sign_in.take(Some(provider.clone())).unwrap();
        assert!(sign_in.holds(word), "a key more, and all that was there");
        write_keys(&path, &[&second]);
        sign_in.take(Some(provider.clone())).unwrap();
        assert!(!sign_in.holds(word), "its key is gone");
        let (_, word) = sign_in.read(&look(&second.sign(&claims(&provider))).unwrap(), NOW_MS).unwrap();
        sign_in.take(Some(provider.clone())).unwrap();
        assert!(sign_in.holds(word), "the same once more");
        sign_in.take(Some(Provider { roles: Vec::new(), ..provider })).unwrap();
        assert!(!sign_in.holds(word), "it means another role");
    }

    /// What made an administrator of any account on the machine.
    #[tokio::test]
    async fn a_file_of_keys_that_others_may_change_or_exchange_lets_nobody_in_at_any_reading() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jwks.json");
        let [issuer, theirs] = [Kind::Ed25519, Kind::P256].map(Issuer::new);
        let chmod = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        let provider = provider_of(&path);
        let sign_in = SignIn::default();
        for (of_folder, of_file) in [(0o700, 0o666), (0o777, 0o600)] {
            write_keys(&path, &[&issuer]);
            chmod(folder.path(), 0o700);
            chmod(&path, 0o600);
            sign_in.take(Some(provider.clone())).unwrap();
            write_keys(&path, &[&theirs]);
            chmod(&path, of_file);
            chmod(folder.path(), of_folder);
            assert!(SignIn::default().take(Some(provider.clone())).unwrap_err().contains("to mend it: chmod o-w "));
            assert!(sign_in.take(Some(provider.clone())).is_err(), "nor when it is read again");
            assert!(read(&provider.keys).await.is_err(), "nor by itself");
            let told = |of: &Issuer| sign_in.read(&look(&of.sign(&claims(&provider))).unwrap(), NOW_MS).is_ok();
            assert_eq!((told(&issuer), told(&theirs)), (true, false), "the keys of before hold on");
        }
        chmod(folder.path(), 0o700);
    }
}
