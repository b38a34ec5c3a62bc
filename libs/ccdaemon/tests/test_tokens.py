import base64
import time

import jwt
import pytest
from ccdaemon import keytools, tokens
from ccdaemon.config.types import Secret
from ccdaemon.errors import OperatorError
from ccdaemon.tokens import TokenError, Verifier, load_private_key, load_public_key, make_token, new_key_pair
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PUBLIC, PRIVATE = new_key_pair()
KEY = load_private_key(Secret(PRIVATE))
GOOD = Verifier((load_public_key(PUBLIC),))


def test_round_trip():
    token = make_token(KEY, {"sub": "demo", "roles": ["api", 5], "projects": ["p"], "exp": 2000, "x": 1})
    claims = GOOD.verify(token, now=1999)
    assert (claims.sub, claims.roles, claims.projects, claims.exp, claims.raw["x"]) == ("demo", ("api",), ("p",), 2000, 1)
    for _ in range(2):  # also from the cache
        with pytest.raises(TokenError, match="expired"):
            GOOD.verify(token, now=2000)
    assert tokens.belong_together(KEY, load_public_key(PUBLIC))


def test_t4_only_key_integrity_and_expiry_count_unless_strict():
    now = time.time()
    late = make_token(KEY, {"iat": now + 1000, "nbf": now + 1000, "aud": "x", "jti": [5], "sub": 7, "roles": "none"})
    assert GOOD.verify(late).roles == ()
    strict = Verifier((load_public_key(PUBLIC),), strict=True)
    with pytest.raises(TokenError, match="future"):
        strict.verify(late)
    assert strict.verify(late, now=now + 1001)
    with pytest.raises(TokenError, match="future"):  # not good from the cache either
        strict.verify(late, now=now)


def test_any_key_of_several_and_rotation():
    other = new_key_pair()
    token = make_token(load_private_key(other[1]), {"sub": "a"})
    assert Verifier((load_public_key(PUBLIC), load_public_key(other[0]))).verify(token).sub == "a"
    with pytest.raises(TokenError):
        GOOD.verify(token)
    with pytest.raises(TokenError):
        Verifier(()).verify(token)


def tampered():
    head, body, signature = make_token(KEY, {"sub": "demo"}).split(".")
    evil = base64.urlsafe_b64encode(b'{"sub":"admin"}').rstrip(b"=").decode()
    yield f"{head}.{evil}.{signature}"
    yield f"{head}.{body}."
    yield f"{head}.{body}"
    yield jwt.encode({"sub": "a"}, None, algorithm="none")
    yield jwt.encode({"sub": "a"}, PUBLIC * 2, algorithm="HS256")
    yield jwt.encode({"sub": "a"}, ec.generate_private_key(ec.SECP256R1()), algorithm="ES256")
    yield from ("", ".", "...", "\ud800.x.y", "a" * 20_000, "é.é.é")
    yield make_token(KEY, {"exp": "tomorrow"})
    yield make_token(KEY, {"exp": [1]})
    yield make_token(KEY, {"exp": True})


FORGED = list(tampered())


@pytest.mark.parametrize("which", range(len(FORGED)))
def test_forged_and_malformed_tokens(which):
    with pytest.raises(TokenError):
        GOOD.verify(FORGED[which])


def test_exp_zero_is_never():
    assert GOOD.verify(make_token(KEY, {"exp": 0}), now=1e12).exp == 0


def test_good_tokens_are_verified_once(monkeypatch):
    verifier, token, calls = Verifier((load_public_key(PUBLIC),), cache_size=2), make_token(KEY, {"sub": "a"}), []
    real = jwt.decode
    monkeypatch.setattr(jwt, "decode", lambda *a, **k: calls.append(1) or real(*a, **k))
    for _ in range(5):
        verifier.verify(token)
    assert len(calls) == 1
    for i in range(3):  # bounded: the first is gone now
        verifier.verify(make_token(KEY, {"sub": str(i)}))
    verifier.verify(token)
    assert len(calls) == 5


@pytest.mark.parametrize("bad", ["", "!!", "AAAA", PRIVATE], ids=["empty", "no base64", "short", "private"])
def test_bad_public_keys(bad):
    with pytest.raises(OperatorError, match="gen-keypair") as e:
        load_public_key(bad)
    assert PRIVATE not in str(e.value)


def test_private_keys():
    raw = base64.b64decode(PRIVATE)
    assert tokens.belong_together(load_private_key(base64.b64encode(raw[:32]).decode()), load_public_key(PUBLIC))
    with pytest.raises(OperatorError, match="belong together"):
        load_private_key(base64.b64encode(raw[:32] + bytes(32)).decode())
    with pytest.raises(OperatorError, match="31 bytes"):
        load_private_key(base64.b64encode(raw[:31]).decode())


def test_gen_keypair(capsys):
    assert keytools.gen_keypair() == 0
    public, private, sentence = capsys.readouterr().out.splitlines()
    assert public.startswith('ED25519 PUBLIC_KEY="') and private.startswith('ED25519 PRIVATE_KEY="') and "JSON Web Token" in sentence
    pub, priv = load_public_key(public.split('"')[1]), load_private_key(private.split('"')[1])
    assert tokens.belong_together(priv, pub)


def pem(key):
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def test_convert_pem_pubkey(tmp_path, capsys):
    key = Ed25519PrivateKey.generate()
    (tmp_path / "good.pem").write_bytes(pem(key))
    (tmp_path / "ec.pem").write_bytes(pem(ec.generate_private_key(ec.SECP256R1())))
    (tmp_path / "none.pem").write_text("hello")
    assert keytools.convert_pem_pubkey([str(tmp_path / "good.pem")]) == 0
    expected = base64.b64encode(key.public_key().public_bytes_raw()).decode()
    assert capsys.readouterr().out == f'CROSS_LOGIN_JWT_PUBLIC_KEY="{expected}"\n'
    for args, words in (([], "Usage"), (["ec.pem"], "another type"), (["none.pem"], "no PEM"), (["gone.pem"], "cannot read")):
        assert keytools.convert_pem_pubkey([str(tmp_path / a) for a in args]) == 1
        out, err = capsys.readouterr()
        assert out == "" and words in err and (not args or err.startswith("error: "))
