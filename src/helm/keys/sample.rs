//! Sample keys: the numbers are published here, so nothing they sign or seal is worth anything.
//!
//! They stand for keys of charts where only the shape of the output matters ([`super::KeySource::Sample`]).

use num_bigint::BigUint;

use super::{dsa::DsaKey, rsa::RsaKey};

/// The first prime of the 2,048-bit RSA key.
const P_2048: &str = "\
    ee88d6ce4937851d0e1fea6f5d7f4bd7ad7e958ee3b0985da53b0e6b748042e347fe24d1770771a5085b3b7484a5229ba92bab0eefd2\
    0606df12ab54ead015140fee7528e77d153f861c573fd56ab8bc368e362fa945200f9eb1b387ae1dabc170ac5689304f1e2de2a8d746\
    aa026aefecc1794c609564a70b9276a2b067e491";
/// Its second prime.
const Q_2048: &str = "\
    d34d0c9facde88e4a59c55ff6401e35969355167e4982a6c6c0380b3a6093f7657ab2946c845c717d13086f4e3a0e21b231d42824534\
    d997f7b5bb22c69334575b15277a6723dae21abbd0825d275cbd02bde418ba74a81f30c688dc44ddfb1bd68af81cf1de5a88abe1c9aa\
    34d5c46a06f38ceaa84c70c8d1d63abc56e5be57";
/// The first prime of the 4,096-bit RSA key.
const P_4096: &str = "\
    da5fc89c7c079b7e1ee7b82f2a648294eb6b429d7dda90805905cc7d22d09c40eb74de17317b0ede3574b1d10d905ce4245c1ab02fae\
    0751ad326a0a4a188f0e1a5d0e4f42a025ec97615d7d24520b229f8b3f9418c5d9b0f9a792c8afad553e80e9afb2b35f39b379d6de28\
    d9b66642cbe6c62a36984a6379a69b890d7ec80baec20d1315e014b7a5c2a628bc51ff22292531c6090121c8eb9aa364c36af3fbffdf\
    be85101d0b511e56054f40bd3841ee9f6ad8989f50b824ecd375a515e509b2ff3718b664fae962e1f3953022c091f28af0080cc964ad\
    2baec5d190420dd1b73e3ec03c8ec3c022d4cb9e41d2596a1f543e170f758c7d6dcfc29f23c5df5f";
/// Its second prime.
const Q_4096: &str = "\
    bb048103c2a6de94752bf98ef99f0347945561876e6a466119345c7f64c4c2034132512c8470388701588c5913c03555b94bd95a1a0c\
    1f663327eb6e72d5b328d3443dfc83db18ec56afe32b81c9469bdba8262899bdbff824325ef36d15e4db2ccb3c8e9fd5ffd3e12810b3\
    97ea83518c8a80732fe2bc6d7175c6cd72a4351fb404006f8997bc5b0475b3bf3bd9718f5e239b3dcaaa7ea89ac8a9b340b3c42624bb\
    97412368fa58b098882741e2897b899b99c4dc82ccd61ab87e1a4630655d77bc8a8d1f6fc85d4bea502c7d23cb6870653b30255b73f5\
    19b09c42ab699d429ed45026392ae3235b46cbe282279334ff17cba4547e12413ec4c0295a3c19d1";
/// The prime of the DSA key.
const P_DSA: &str = "\
    f16487d77a6d9ed364c1b844eda8b66331b3ca461aa8f8260a38557ebcad0c6404a76d9762e23a93dcbba5ec585426ef61477e31a8bb\
    cff49dec597841e48ee0e22e5674f3642ba2943a804894fb8179c0860103c3099b675d76ef8c46da14064ed2736b088b945b12d6d137\
    b7b2e7296978bdbbb263960ce78af3b051f3355c49090952a37f964f17a8114156217ad7a006284bcaa66c7ecef519cfe10413fcb3e9\
    d9230fc4873c6d7b60a6ada65c79e1c53097176521ed0f3f37ebab5e61c511456aaacce2e49aebbc2a5da4d87a06f38c00309d7f6707\
    4b8bff855b67052441382eedf3a422caaac8018488fc8f8e67d736e32545bbdbca7997bc1868c2f5";
/// The order of its group.
const Q_DSA: &str = "\
    f6ab8cc48467e7ff9e5f11aa47ad0947cb952d765e4d2d4fe04116965e254b9f";

fn number(hex: &str) -> BigUint {
    BigUint::parse_bytes(hex.as_bytes(), 16).expect("the constants above are hexadecimal, a test reads each")
}

fn rsa(p: &str, q: &str) -> RsaKey {
    RsaKey::of_primes(number(p), number(q)).expect("the constants above are primes that fit, a test makes each key")
}

/// Returns the RSA key of 2,048 bits.
pub(super) fn rsa_2048() -> RsaKey {
    rsa(P_2048, Q_2048)
}

/// Returns the RSA key of 4,096 bits.
pub(super) fn rsa_4096() -> RsaKey {
    rsa(P_4096, Q_4096)
}

/// Returns the DSA key.
pub(super) fn dsa() -> DsaKey {
    // The secret of a sample may be any number: here it is made of ones.
    DsaKey::of_parameters(number(P_DSA), number(Q_DSA), &mut |bytes| bytes.fill(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_keys() {
        for key in [rsa_2048(), rsa_4096()] {
            assert_eq!(RsaKey::read(&key.to_der()), Ok(key.clone()));
        }
        assert_eq!(DsaKey::read(&dsa().to_der()), Some(dsa()));
    }
}
