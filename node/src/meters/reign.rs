//! How long the cluster was between two leaders, as this node heard them: a pure step from what it knows now.

use std::time::{Duration, Instant};

use pentora_raft::{Leadership, NodeId};

/// One leader followed another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Takeover {
    /// From the last word of the one to the first of the other.
    pub(super) failover: Duration,
    /// The part of that in which the first was missed; `None` where it handed over before anybody missed it.
    pub(super) election: Option<Duration>,
}

/// The leader that was heard last.
#[derive(Debug, Default)]
pub(super) struct Reign(Option<Heard>);

#[derive(Debug, Clone, Copy)]
struct Heard {
    leader: NodeId,
    term: u64,
    at: Instant,
}

impl Reign {
    /// Takes in what is known at `now`, with the longest election time-out; answers where another leader, or one of another
    /// term, speaks for the first time.
    pub(super) fn observe(
        &mut self,
        leadership: Leadership,
        term: u64,
        election_max: Duration,
        now: Instant,
    ) -> Option<Takeover> {
        let at = |age: Duration| now.checked_sub(age).unwrap_or(now);
        match leadership {
            Leadership::Known { leader, age } => {
                let word = Heard { leader, term, at: at(age) };
                match self.0.replace(word) {
                    Some(before) if (before.leader, before.term) == (leader, term) => {
                        self.0 = Some(Heard { at: before.at.max(word.at), ..word });
                        None
                    }
                    Some(before) => {
                        let failover = word.at.saturating_duration_since(before.at);
                        let election = failover.checked_sub(election_max).filter(|time| !time.is_zero());
                        Some(Takeover { failover, election })
                    }
                    // The first since this process started: nobody was replaced.
                    None => None,
                }
            }
            Leadership::Lost { last: Some(last), since: Some(since) } => {
                if let Some(heard) = self.0.as_mut().filter(|heard| heard.leader == last) {
                    heard.at = heard.at.max(at(since));
                }
                None
            }
            Leadership::Lost { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ELECTION: Duration = Duration::from_millis(800);

    #[test]
    fn a_leader_that_dies_costs_the_time_between_two_words_and_was_missed_for_less() {
        let (start, ms) = (Instant::now(), Duration::from_millis);
        let mut reign = Reign::default();
        let mut at = |millis, leadership, term| reign.observe(leadership, term, ELECTION, start + ms(millis));
        let known = |leader, age| Leadership::Known { leader, age: ms(age) };
        assert_eq!(at(1_000, known(1, 40), 4), None, "the first is no takeover");
        assert_eq!(at(1_050, known(1, 20), 4), None);
        assert_eq!(at(1_900, Leadership::Lost { last: Some(1), since: Some(ms(830)) }, 4), None);
        let takeover = at(2_300, known(2, 30), 5).unwrap();
        assert_eq!(takeover, Takeover { failover: ms(1_200), election: Some(ms(400)) });
        assert_eq!(at(2_350, known(2, 10), 5), None, "told once");
    }

    #[test]
    fn leadership_that_is_handed_over_is_a_takeover_without_an_election() {
        let (start, ms) = (Instant::now(), Duration::from_millis);
        let mut reign = Reign::default();
        reign.observe(Leadership::Known { leader: 1, age: ms(0) }, 4, ELECTION, start + ms(10));
        let takeover = reign.observe(Leadership::Known { leader: 2, age: ms(0) }, 5, ELECTION, start + ms(60));
        assert_eq!(takeover, Some(Takeover { failover: ms(50), election: None }));
    }

    #[test]
    fn an_election_that_the_same_node_wins_counts_as_well() {
        let (start, ms) = (Instant::now(), Duration::from_millis);
        let mut reign = Reign::default();
        reign.observe(Leadership::Known { leader: 1, age: ms(0) }, 4, ELECTION, start);
        reign.observe(Leadership::Lost { last: None, since: None }, 5, ELECTION, start + ms(900));
        let takeover = reign.observe(Leadership::Known { leader: 1, age: ms(0) }, 6, ELECTION, start + ms(1_000));
        assert_eq!(takeover, Some(Takeover { failover: ms(1_000), election: Some(ms(200)) }));
    }
}
