//! Prime numbers for RSA and DSA.
//!
//! # Invariants
//! - A number is called prime after [`ROUNDS`] rounds of Miller and Rabin with random bases (FIPS 186-5, B.3.1).

use num_bigint::BigUint;

/// Where random bytes come from.
pub(super) type Random<'a> = &'a mut dyn FnMut(&mut [u8]);

/// FIPS 186-5, table B.1 asks for 5 rounds with 1,024 bits and fewer with more; the others are spare.
const ROUNDS: usize = 8;

/// Small factors below this are sieved out: it saves five of six costly tests.
const SIEVE: u32 = 4000;

/// Draws a number of so many bits at most.
pub(super) fn draw(bits: usize, random: Random<'_>) -> BigUint {
    let mut bytes = vec![0; bits.div_ceil(8)];
    random(&mut bytes);
    if let Some(first) = bytes.first_mut() {
        *first &= 0xff >> (bits.div_ceil(8) * 8 - bits);
    }
    BigUint::from_bytes_be(&bytes)
}

/// Draws a number from 2 to `below` - 2; `below` is greater than 4.
pub(super) fn draw_below(below: &BigUint, random: Random<'_>) -> BigUint {
    // 64 spare bits make the remainder even enough.
    let wide = draw(below.bits() as usize + 64, random);
    wide % (below - 3u32) + 2u32
}

fn small_primes() -> Vec<u32> {
    let mut composite = vec![false; SIEVE as usize];
    let mut primes = Vec::new();
    for number in 2..SIEVE {
        if !composite[number as usize] {
            primes.push(number);
            for multiple in (number * number..SIEVE).step_by(number as usize) {
                composite[multiple as usize] = true;
            }
        }
    }
    primes
}

fn residue(number: &BigUint, prime: u32) -> u32 {
    (number % prime).iter_u32_digits().next().unwrap_or(0)
}

/// Tells whether an odd number above 4 is almost certainly prime.
fn is_prime(number: &BigUint, random: Random<'_>) -> bool {
    let one = BigUint::from(1u8);
    let minus_one = number - &one;
    let twos = minus_one.trailing_zeros().unwrap_or(0);
    let odd = &minus_one >> twos;
    'rounds: for _ in 0..ROUNDS {
        let mut power = draw_below(number, random).modpow(&odd, number);
        if power == one || power == minus_one {
            continue;
        }
        for _ in 1..twos {
            power = &power * &power % number;
            if power == minus_one {
                continue 'rounds;
            }
        }
        return false;
    }
    true
}

/// Finds the first prime of `start`, `start + step`, ... that has so many bits, within `tries` numbers.
pub(super) fn search(start: &BigUint, step: &BigUint, bits: u64, tries: u32, random: Random<'_>) -> Option<BigUint> {
    let mut sieve: Vec<(u32, u32, u32)> =
        small_primes().into_iter().map(|prime| (prime, residue(start, prime), residue(step, prime))).collect();
    for count in 0..tries {
        let mut divisible = false;
        for (prime, rest, by) in &mut sieve {
            divisible |= *rest == 0;
            *rest = (*rest + *by) % *prime;
        }
        if divisible {
            continue;
        }
        let candidate = start + step * count;
        if candidate.bits() != bits {
            return None;
        }
        if is_prime(&candidate, random) {
            return Some(candidate);
        }
    }
    None
}

/// Draws a prime of exactly so many bits; the highest two are set, so that the product of two such primes has exactly
/// twice as many.
pub(super) fn prime(bits: usize, random: Random<'_>) -> BigUint {
    let mut start;
    loop {
        start = draw(bits, random);
        start.set_bit(bits as u64 - 1, true);
        start.set_bit(bits as u64 - 2, true);
        start.set_bit(0, true);
        // One of 0.35 * bits odd numbers is prime: this many almost always hold one.
        if let Some(prime) = search(&start, &BigUint::from(2u8), bits as u64, 16 * bits as u32, random) {
            return prime;
        }
    }
}

/// Returns the greatest common divisor.
pub(super) fn common_divisor(a: &BigUint, b: &BigUint) -> BigUint {
    let (mut a, mut b) = (a.clone(), b.clone());
    while b.bits() > 0 {
        (a, b) = (b.clone(), a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counter() -> impl FnMut(&mut [u8]) {
        let mut state = 1u64;
        move |out: &mut [u8]| {
            for byte in out {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                *byte = (state >> 56) as u8;
            }
        }
    }

    #[test]
    fn primes_are_told_from_composites() {
        let mut random = counter();
        for (text, wanted) in [
            ("170141183460469231731687303715884105727", true), // 2^127 - 1
            ("170141183460469231731687303715884105729", false),
            ("3825123056546413051", false), // a strong pseudoprime to the bases 2 to 23
            ("561", false),
            ("65537", true),
        ] {
            assert_eq!(is_prime(&text.parse().unwrap(), &mut random), wanted, "{text}");
        }
        let found = prime(128, &mut random);
        assert_eq!(found.bits(), 128);
        assert!(is_prime(&found, &mut random));
        assert_eq!(common_divisor(&48u32.into(), &36u32.into()), 12u32.into());
    }
}
