"""Every route × every kind of caller, generated from the route table of the running application; and what never works."""

from __future__ import annotations

import re

import aiohttp
import pytest
from cc_backend.api.login import local_target
from cc_backend.auth.limits import LoginLimit

pytestmark = pytest.mark.slow  # as a whole: many small servers or subprocesses

# What a caller is: token with these roles, or a session of such an account.
TOKENS = {
    "nobody": None, "api": ("api",), "user": ("user",), "user+api": ("user", "api"), "manager+api": ("manager", "api"),
    "support+api": ("support", "api"), "admin": ("admin",), "admin+api": ("admin", "api"), "unknown role": ("root",), "no role": (),
}  # fmt: skip
API = {"api", "admin+api"}
USERAPI = API | {"user+api", "manager+api", "support+api"}


def group(path):
    """Who passes the door of a route (401 for all others), or None: an open route, or one with its own rules below."""
    if path.startswith("/userapi/"):
        return USERAPI
    if path.startswith("/api/"):
        return API
    if path.startswith(("/config/", "/frontend/")):
        return set()
    return None


def routes_of(backend):
    listener = next(part for name, part in backend.parts.items() if name.startswith("listener"))
    for route in listener._runner.app.router.routes():
        path = route.resource.canonical
        method = "GET" if route.method == "*" else route.method
        if method != "HEAD" and group(path) is not None:
            yield method, re.sub(r"\{[a-z_]+(:[^}]*)?\}", "1", path)


@pytest.mark.slow
async def test_doors(backend):
    """Tokens: inside means any answer but 401, and 403 from a rule behind the door is inside too."""
    seen = 0
    for method, path in routes_of(backend):
        for caller, roles in TOKENS.items():
            status = (await backend.call(method, path, roles=roles, json=[]))[0]
            inside = caller in group(path)
            assert (status != 401) == inside, (method, path, caller, status)
            assert status < 500, (method, path, caller, status)
            seen += 1
    assert seen > 400  # the table was really walked


@pytest.mark.slow
async def test_sessions_open_no_token_routes(backend):
    """A browser's cookie opens neither /api nor /userapi; /config is for administrators, /frontend for everybody logged in."""
    cookies = {role: await backend.login(role, *roles) for role, roles in {"usr": ("user",), "adm": ("admin", "api")}.items()}
    for method, path in routes_of(backend):
        for who, cookie in cookies.items():
            status = (await backend.call(method, path, cookie=cookie, data={}))[0]
            allowed = path.startswith("/frontend/") or (path.startswith("/config/") and who == "adm")
            assert (status != 401) == allowed, (method, path, who, status)
            assert status < 500, (method, path, who, status)


class TestBehindTheDoor:
    async def test_clusters_and_users(self, backend):
        assert (await backend.call("GET", "/api/clusters/"))[0] == 200
        assert (await backend.call("GET", "/api/users/"))[0] == 403  # api alone may not
        assert (await backend.call("GET", "/api/users/", roles=("admin", "api")))[0] == 200

    async def test_user_changes(self, backend):
        await backend.account("ben", "user")

        async def change(**body):
            return (
                await backend.call("POST", "/api/user/ben", roles=("admin", "api"), json={k.replace("_", "-"): v for k, v in body.items()})
            )[:2]

        assert await change(add_role="Manager") == (200, {"msg": "Add Role Success for user ben"})
        assert (await change(add_role="manager"))[0] == 422
        assert (await change(add_role="root"))[0] == 422
        assert (await change(add_project="p1"))[0] == 200
        assert (await change(remove_role="manager"))[0] == 422  # projects are assigned
        assert (await change(remove_project="p1"))[0] == 200
        assert (await change(remove_role="manager"))[0] == 200
        assert (await change())[0] == 400
        assert (await change(x=1))[0] == 400
        users = (await backend.call("GET", "/api/users/", roles=("admin", "api")))[1]
        assert [(u["username"], u["roles"], u["projects"]) for u in users] == [("ben", ["user"], [])]
        assert all("password" not in u for u in users)

    async def test_bad_tokens(self, backend):
        good = backend.token("api")
        head, _, signature = good.split(".")
        for token in (
            "x",
            "a.b.c",
            good[:-4] + "AAAA",
            f"{head}.eyJzdWIiOiJ4Iiwicm9sZXMiOlsiYXBpIl19.{signature}",
            "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.",
        ):
            status, body, _ = await backend.call("GET", "/api/jobs/", roles=None, headers={"Authorization": f"Bearer {token}"})
            assert status == 401
            assert body == {"status": "Unauthorized", "error": "unauthorized"}

    async def test_where_tokens_may_stand(self, backend):
        token = backend.token("api")
        for headers in ({"X-Auth-Token": token}, {"X-AUTH-TOKEN": token}, {"Authorization": token}, {"Authorization": f"Bearer {token}"}):
            assert (await backend.call("GET", "/api/jobs/", roles=None, headers=headers))[0] == 200

    async def test_basic_of_a_proxy_is_no_token(self, backend):
        """Pitfall: any Authorization header hides a valid session."""
        cookie = await backend.login("anna", "user")
        status, _, _ = await backend.call("GET", "/", cookie=cookie, headers={"Authorization": "Basic dXNlcjpwdw=="})
        assert status == 200

    async def test_revoked_tokens(self, backend):
        from cc_backend.db.tables import hpc_user
        from sqlalchemy import update

        await backend.account("old", "api")
        await backend.database.write(lambda conn: conn.execute(update(hpc_user).values(tokens_valid_from=10)))
        assert (await backend.call("GET", "/api/jobs/", name="old"))[0] == 401  # this token has no iat

    async def test_validate_user(self, start_backend):
        from cc_backend.config import Auth, Jwts

        async with start_backend(auth=Auth(jwts=Jwts(validate_user=True))) as backend:
            assert (await backend.call("GET", "/api/jobs/"))[0] == 401  # no such account
            await backend.account("known", "api")
            assert (await backend.call("GET", "/api/jobs/", name="known"))[0] == 200
            await backend.account("weak", "user")
            assert (await backend.call("GET", "/api/jobs/", name="weak"))[0] == 401  # the account's roles count, not the token's


class TestAddresses:
    @pytest.mark.parametrize(
        ("allowed", "headers", "status"),
        [
            (["127.0.0.1"], {}, 200),
            (["127.0.0.0/8"], {}, 200),
            (["*"], {}, 200),
            (["10.0.0.0/8"], {}, 401),
            (["10.0.0.0/8"], {"X-Forwarded-For": "10.1.2.3"}, 200),  # loopback is a trusted proxy
            (["10.0.0.0/8"], {"X-Forwarded-For": "10.1.2.3, 8.8.8.8"}, 401),  # pitfall: what the client wrote itself
            (["127.0.0.1"], {"X-Forwarded-For": "8.8.8.8"}, 401),
        ],
    )
    async def test_allow_list(self, start_backend, allowed, headers, status):
        async with start_backend(main={"api_allowed_ips": allowed}) as backend:
            assert (await backend.call("GET", "/api/jobs/", headers=headers))[0] == status
            assert (await backend.call("GET", "/userapi/jobs/", headers=headers))[0] == 200

    async def test_untrusted_peer_cannot_claim(self, start_backend):
        """Pitfall: the headers are the client's to write."""
        async with start_backend(main={"api_allowed_ips": ["10.0.0.0/8"], "trusted_proxies": ["192.0.2.1"]}) as backend:
            for name in ("X-Forwarded-For", "X-Real-Ip"):
                assert (await backend.call("GET", "/api/jobs/", headers={name: "10.1.2.3"}))[0] == 401

    async def test_metrics_page(self, backend):
        assert (await backend.call("GET", "/metrics", roles=None))[0] == 200
        away = {"X-Forwarded-For": "127.0.0.1"}
        assert (await backend.call("GET", "/metrics", roles=None, headers=away))[0] == 401
        assert (await backend.call("GET", "/metrics", roles=("user",), headers=away))[0] == 401
        status, text, _ = await backend.call("GET", "/metrics", headers=away)
        assert status == 200
        assert "cc_backend_taken_total" in text


class TestLogin:
    async def form(self, backend, **kwargs):
        data = {"username": "anna", "password": "secret", **kwargs.pop("data", {})}
        return await backend.call("POST", "/login", roles=None, data=data, **kwargs)

    async def test_in_and_out(self, backend):
        cookie = await backend.login("anna", "user")
        assert (await backend.call("GET", "/", cookie=cookie))[0] == 200
        status, _, response = await backend.call("POST", "/logout", cookie=cookie)
        assert status == 200
        assert response.cookies["session"].value == ""
        assert (await backend.call("GET", "/", cookie=cookie))[0] == 401  # really ended, not only forgotten by the browser

    async def test_cookie(self, backend):
        await backend.account("anna", "user")
        plain = (await self.form(backend))[2].headers["Set-Cookie"]
        assert {"HttpOnly", "Path=/", "SameSite=Lax", "Max-Age=604800"} <= set(plain.split("; "))
        assert "Secure" not in plain
        proxied = (await self.form(backend, headers={"X-Forwarded-Proto": "https"}))[2].headers["Set-Cookie"]
        assert "Secure" in proxied

    async def test_unknown_and_wrong_look_alike(self, backend):
        await backend.account("anna", "user")
        wrong = await self.form(backend, data={"password": "x"})
        unknown = await self.form(backend, data={"username": "nobody"})
        assert (wrong[0], wrong[1]) == (unknown[0], unknown[1])
        assert wrong[0] == 401
        assert "Authentication failed" in wrong[1]

    async def test_accounts_without_password_never_log_in(self, backend):
        from cc_backend.db.users import User, add_user

        await backend.database.write(lambda conn: add_user(conn, User(username="anna", roles=("user",))))
        for password in ("", "x", "nobody has this password"):
            assert (await self.form(backend, data={"password": password}))[0] == 401

    async def test_sixth_failure_has_to_wait(self, backend):
        await backend.account("anna", "user")
        for _ in range(5):
            assert "Authentication failed" in (await self.form(backend, data={"password": "x"}))[1]
        status, text, _ = await self.form(backend)
        assert status == 401
        assert "too many login attempts" in text
        assert "Authentication failed" in (await self.form(backend, data={"username": "other"}))[1]  # others are not locked out
        status, _, _ = await self.form(backend, headers={"X-Forwarded-For": "192.0.2.7"})  # pitfall: all behind a proxy share a bucket
        assert status == 302

    async def test_success_does_not_count(self, backend):
        await backend.account("anna", "user")
        for _ in range(8):
            assert (await self.form(backend))[0] == 302

    @pytest.mark.parametrize(
        ("target", "wanted"),
        [
            ("/monitoring/jobs/?a=b", "/monitoring/jobs/?a=b"), ("", "/"), ("//evil.example", "/"), ("/\\evil.example", "/"),
            ("https://evil.example", "/"), ("/\tx", "/"), ("/a\r\nSet-Cookie: x=y", "/"), ("evil", "/"), ("/a\\b", "/"), ("/", "/"),
        ],
    )  # fmt: skip
    def test_redirect(self, target, wanted):
        assert local_target(target) == wanted

    async def test_session_ends_with_the_account_and_follows_its_roles(self, backend):
        from cc_backend.db import users

        cookie = await backend.login("anna", "user")
        assert (await backend.call("GET", "/config/users/", cookie=cookie))[0] == 401
        await backend.database.write(lambda conn: users.change_role(conn, "anna", "admin", add=True))
        assert (await backend.call("GET", "/config/users/", cookie=cookie))[0] == 200
        await backend.account("boss", "admin")
        await backend.database.write(lambda conn: users.delete_user(conn, "anna"))
        assert (await backend.call("GET", "/", cookie=cookie))[0] == 401

    async def test_sessions_expire_on_the_server(self, backend):
        from cc_backend.db.tables import session
        from sqlalchemy import update

        cookie = await backend.login("anna", "user")
        await backend.database.write(lambda conn: conn.execute(update(session).values(expires=1)))
        assert (await backend.call("GET", "/", cookie=cookie))[0] == 401

    async def test_a_made_up_cookie_is_nothing(self, backend):
        """Pitfall: an old cookie makes login answer 500 until it is deleted."""
        await backend.account("anna", "user")
        for cookie in ("x", "MTc2|abc==", "%00", "a" * 4000):
            assert (await self.form(backend, cookie=cookie))[0] == 302
            assert (await backend.call("GET", "/login", cookie=cookie))[0] == 200

    async def test_the_table_holds_no_keys(self, backend):
        from cc_backend.db.tables import session
        from sqlalchemy import select

        cookie = await backend.login("anna", "user")
        rows = await backend.database.read(lambda conn: conn.execute(select(session)).all())
        assert cookie not in str(rows)


class TestSizes:
    @pytest.mark.parametrize("kind", ["urlencoded", "multipart", "chunked"])
    async def test_a_login_form_is_small(self, backend, kind):
        """Nobody has logged in yet: the limit for metric data (64 MiB) is none for them."""
        password = "x" * 100_000
        data = {"username": "anna", "password": password}
        headers = {}
        if kind == "multipart":
            data = aiohttp.FormData(data)
            data.add_field("file", b"y" * 100_000, filename="f")
        if kind == "chunked":
            headers = {"Content-Type": "application/x-www-form-urlencoded"}

            async def pieces():
                yield f"username=anna&password={password}".encode()

            data = pieces()
        assert (await backend.call("POST", "/login", roles=None, data=data, headers=headers))[0] == 413

    async def test_a_login_by_multipart(self, backend):
        await backend.account("anna", "user")
        data = aiohttp.FormData({"username": "anna", "password": "secret", "redirect": "/monitoring/jobs/"})
        data.add_field("other", b"y", filename="f")
        status, _, response = await backend.call("POST", "/login", roles=None, data=data)
        assert (status, response.headers["Location"]) == (302, "/monitoring/jobs/")

    def test_names_of_login_buckets_are_cut(self):
        limit = LoginLimit(lambda: 0.0)
        for n in range(5):
            limit.failed("192.0.2.1", "x" * 100_000 + str(n))
        assert not limit.allows("192.0.2.1", "x" * 100_000)
        assert max(len(name) for _, name in limit._buckets) == 255


class TestBrowserRules:
    async def test_cross_site(self, backend):
        cookie = await backend.login("anna", "user")
        form = {"key": "a", "value": "1"}
        path = "/frontend/configuration/"
        assert (await backend.call("POST", path, cookie=cookie, data=form))[0] == 200
        assert (await backend.call("POST", path, cookie=cookie, data=form, headers={"Sec-Fetch-Site": "cross-site"}))[0] == 403
        assert (await backend.call("POST", path, cookie=cookie, data=form, headers={"Sec-Fetch-Site": "same-origin"}))[0] == 200
        assert (await backend.call("POST", path, cookie=cookie, data=form, headers={"Origin": "https://evil.example"}))[0] == 403
        assert (await backend.call("POST", path, cookie=cookie, data=form, headers={"Origin": backend.url}))[0] == 200
        assert (await backend.call("GET", "/", cookie=cookie, headers={"Sec-Fetch-Site": "cross-site"}))[0] == 200
        # Another host of the same domain: its pages get Lax cookies sent.
        assert (await backend.call("POST", path, cookie=cookie, data=form, headers={"Sec-Fetch-Site": "same-site"}))[0] == 403
        assert (await backend.call("POST", "/login", roles=None, data=form, headers={"Sec-Fetch-Site": "same-site"}))[0] == 403
        # A script of that host that sends a token knows it: no cookie is at work.
        assert (await backend.call("DELETE", "/api/tags/", json=[], headers={"Sec-Fetch-Site": "same-site"}))[0] == 200
        assert (await backend.call("POST", path, cookie=cookie, data=form, headers={"Origin": "http://[x"}))[0] == 403

    @pytest.mark.parametrize("path", ["/", "/login", "/api/jobs/", "/api/nothing", "/metrics", "/nothing"])
    async def test_security_headers(self, backend, path):
        headers = (await backend.call("GET", path, headers={"X-Forwarded-Proto": "https"}))[2].headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Referrer-Policy"] == "same-origin"
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert headers["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains"
        assert "aiohttp" not in headers["Server"]

    async def test_cors_without_credentials(self, backend):
        ask = {"Origin": "https://x.example", "Access-Control-Request-Method": "POST"}
        status, _, response = await backend.call("OPTIONS", "/api/jobs/", roles=None, headers=ask)
        assert status == 200
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in response.headers
        assert "POST" in response.headers["Access-Control-Allow-Methods"]
        response = (await backend.call("OPTIONS", "/api/jobs/", roles=None, headers={**ask, "Access-Control-Request-Method": "DELETE"}))[2]
        assert "Access-Control-Allow-Methods" not in response.headers


class TestErrors:
    async def test_unknown_paths(self, backend):
        for path in ("/api/nothing", "/userapi/nothing", "/frontend/x", "/config/x"):
            status, body, _ = await backend.call("GET", path)
            assert (status, body) == (404, {"error": "the requested endpoint does not exist", "status": "Resource not found"})
        status, text, response = await backend.call("GET", "/nothing")
        assert status == 404
        assert response.content_type == "text/html"

    async def test_wrong_method(self, backend):
        status, body, response = await backend.call("DELETE", "/api/clusters/")
        assert (status, body) == (405, "")
        assert "GET" in response.headers["Allow"]

    @pytest.mark.parametrize(
        "path",
        ["/static/../../job.db", "/static/%2e%2e/%2e%2e/job.db", "/img/..%2f..%2fjob.db", "/static//etc/passwd", "/static/", "/img/"],
    )
    async def test_no_file_outside_and_no_listing(self, backend, path):
        assert (await backend.call("GET", path, roles=None))[0] == 404

    async def test_no_database_text_leaves(self, backend, monkeypatch):
        from cc_backend.db import jobs as rows

        def broken(*args, **kwargs):
            raise RuntimeError("SELECT secret FROM hpc_user")

        monkeypatch.setattr(rows, "used_nodes", broken)
        status, body, _ = await backend.call("GET", "/api/jobs/used_nodes?ts=5")
        assert status == 500
        assert body == {"status": "Internal Server Error", "error": "internal error"}


class TestFrontendRoutes:
    async def test_own_token(self, backend):
        cookie = await backend.login("anna", "user", "api")
        status, token, _ = await backend.call("GET", "/frontend/jwt/?username=anna", cookie=cookie)
        assert status == 200
        assert (await backend.call("GET", "/userapi/jobs/", roles=None, headers={"X-Auth-Token": token}))[0] == 200
        assert (await backend.call("GET", "/frontend/jwt/?username=ben", cookie=cookie))[0] == 403

    async def test_settings_are_json(self, backend):
        cookie = await backend.login("anna", "user")
        for value, status in (("[1]", 200), ("{", 400), ("", 400)):  # pitfall: bad JSON breaks every page of the user
            assert (await backend.call("POST", "/frontend/configuration/", cookie=cookie, data={"key": "k", "value": value}))[0] == status
        assert (await backend.call("GET", "/", cookie=cookie))[0] == 200

    async def test_accounts(self, backend):
        cookie = await backend.login("root1", "admin")

        async def create(**form):
            return (await backend.call("POST", "/config/users/", cookie=cookie, data=form))[:2]

        assert await create(username="u", password="p", role="user") == (200, "User u successfully created!\n")
        assert (await create(username="u", password="p", role="user"))[0] == 422
        assert (await create(username="v", password="", role="user"))[0] == 400
        assert (await create(username="v", password="p", role="root"))[0] == 400
        assert (await create(username="global", password="p", role="user"))[0] == 400  # pitfall: the name of a tag scope
        assert (await create(username="v", password="p", role="user", project="x"))[0] == 400
        assert (await create(username="v", password="p", role="manager"))[0] == 400
        assert (await create(username="v", password="p" * 73, role="user"))[0] == 400
        assert (await create(username="m", password="p", role="manager", project="x"))[0] == 200
        assert (await backend.call("DELETE", "/config/users/?username=u", cookie=cookie))[0] == 200
        assert (await backend.call("DELETE", "/config/users/?username=root1", cookie=cookie))[0] == 422
        assert (await backend.call("POST", "/config/user/root1", cookie=cookie, data={"remove-role": "admin"}))[0] == 422  # the last one


async def test_without_authentication(start_backend, start_body):
    async with start_backend(main={"disable_authentication": True}) as backend:
        assert (await backend.call("POST", "/api/jobs/start_job/", roles=None, json=start_body()))[0] == 201
        assert len((await backend.call("GET", "/api/jobs/", roles=None))[1]["jobs"]) == 1
        assert (await backend.call("GET", "/", roles=None))[0] == 200
        assert (await backend.call("POST", "/login", roles=None))[0] in (404, 405)
