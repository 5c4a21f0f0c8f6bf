//! DSA keys of 2,048 and 256 bits (FIPS 186-4, 4.2), in the form of OpenSSL. Nothing here signs with them: X.509 of Go
//! refuses them too.

use num_bigint::BigUint;

use super::{
    der,
    primes::{self, Random},
};

/// FIPS 186-4, 4.2: L = 2048 and N = 256.
const P_BITS: usize = 2048;
const Q_BITS: usize = 256;

/// A DSA key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DsaKey {
    /// p, q, g, y and x.
    numbers: [BigUint; 5],
}

impl DsaKey {
    /// Makes parameters and a key.
    pub(super) fn generate(random: Random<'_>) -> DsaKey {
        loop {
            let q = primes::prime(Q_BITS, random);
            let double = &q << 1u32;
            let mut start = primes::draw(P_BITS, random);
            start.set_bit(P_BITS as u64 - 1, true);
            start = &start - &start % &double + 1u32;
            if let Some(p) = primes::search(&start, &double, P_BITS as u64, 8 * P_BITS as u32, random) {
                return DsaKey::of_parameters(p, q, random);
            }
        }
    }

    /// Makes a key for parameters that exist.
    pub(super) fn of_parameters(p: BigUint, q: BigUint, random: Random<'_>) -> DsaKey {
        let exponent = (&p - 1u32) / &q;
        let mut base = BigUint::from(2u8);
        let mut g = base.modpow(&exponent, &p);
        while g == BigUint::from(1u8) {
            base += 1u32;
            g = base.modpow(&exponent, &p);
        }
        let x = primes::draw_below(&q, random);
        let y = g.modpow(&x, &p);
        DsaKey { numbers: [p, q, g, y, x] }
    }

    /// Writes version 0, p, q, g, y and x.
    pub(super) fn to_der(&self) -> Vec<u8> {
        let zero = der::integer(&BigUint::from(0u8));
        let numbers = self.numbers.each_ref().map(der::integer).concat();
        der::sequence(&[&zero, &numbers])
    }

    /// Reads what [`DsaKey::to_der`] writes.
    pub(super) fn read(bytes: &[u8]) -> Option<DsaKey> {
        let mut body = der::Reader(bytes).sequence()?;
        let mut number = || body.number();
        number()?;
        Some(DsaKey { numbers: [number()?, number()?, number()?, number()?, number()?] })
    }
}
