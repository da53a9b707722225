//! A seeded generator for jitter and simulation. Not for secrets.

use std::time::Duration;

/// SplitMix64: small, fast, and the same stream for the same seed on every machine.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// Same seed, same stream.
    pub fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 when `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The high half of the product is uniform enough for jitter and cheaper than a remainder.
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }

    /// `duration` shortened by a random share of at most a quarter, as RFC 4271 §10 asks of BGP timers.
    pub fn jitter(&mut self, duration: Duration) -> Duration {
        let permille = 750 + self.below(251);
        duration.mul_f64(permille as f64 / 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_between_three_quarters_and_all() {
        let mut rng = Rng::new(7);
        let second = Duration::from_secs(1);
        let drawn: Vec<_> = (0..1000).map(|_| rng.jitter(second)).collect();
        assert!(drawn.iter().all(|d| (Duration::from_millis(750)..=second).contains(d)));
        assert!(drawn.iter().max().unwrap().as_millis() > 990 && drawn.iter().min().unwrap().as_millis() < 760);
        assert_eq!(rng.below(0), 0);
    }
}
