"""Promises of the configuration: layers, strictness, every problem at once."""

from pathlib import Path

import pytest

from acp_stdio.errors import EXIT_CONFIGURATION, Failure
from acp_stdio.settings import managed
from acp_stdio.settings.load import EXAMPLE, chosen_file, config_files, load
from acp_stdio.settings.model import Settings
from acp_stdio.settings.paths import user_paths

ISSUER = "https://login.example.com"
FINANCE = "https://finance.example.com/mcp"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person's home with no managed file in reach."""
    monkeypatch.setattr(managed, "PLACE", tmp_path / "managed" / "config.toml")
    return tmp_path / "home"


def write(home: Path, text: str, name: str = "config.toml") -> Path:
    path = home / "config" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def settings(home: Path, *targets: str, **environ: str) -> Settings:
    return load(targets=targets, environ={"ACP_STDIO_HOME": str(home), **environ})


def refused(home: Path, *targets: str, **environ: str) -> Failure:
    with pytest.raises(Failure) as caught:
        settings(home, *targets, **environ)
    assert caught.value.reason == "configuration_invalid"
    assert caught.value.meaning.exit_code == EXIT_CONFIGURATION
    assert caught.value.advice
    return caught.value


def test_the_smallest_configuration_fills_in_the_documented_defaults(home: Path) -> None:
    path = write(home, EXAMPLE)
    found = settings(home)
    assert (found.identity.issuer, found.identity.client_id) == (ISSUER, "acp-stdio")
    assert found.identity.redirect == "http://127.0.0.1:0/callback"
    assert found.identity.scopes == ("openid", "offline_access")
    assert found.identity.recheck_identity == 15 * 60
    assert (found.identity.discovery_url, found.identity.endpoints) == ("", {})
    assert (found.identity.allow_unadvertised_pkce, found.identity.clock_skew) == (False, 60)
    assert found.upstreams["finance"].url == FINANCE
    assert found.upstreams["finance"].token_request == "resource"
    assert found.host.call_timeout == 230
    assert found.host.helper_tools is True
    assert found.profile == "default"
    assert found.config_file == path


def test_every_key_of_this_version_is_read(home: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.touch()
    write(
        home,
        f"""
        version = 1
        [identity]
        issuer = "http://[::1]:9000/realm/"
        client_id = "abc"
        preset = "generic"
        flow = "device"
        redirect = "http://localhost:8400,8401/back"
        scopes = ["openid", "profile"]
        require_account = {{ domain = "example.com" }}
        recheck_identity = "1h30m"
        user_key = ["tid", "oid"]
        user_label = ["upn"]
        authorize_params = {{ kc_idp_hint = "corp" }}
        discovery_url = "http://[::1]:9000/metadata"
        endpoints = {{ token = "http://[::1]:9000/token", jwks = "https://keys.example.com/jwks" }}
        allow_unadvertised_pkce = true
        clock_skew = "5s"
        [upstreams.finance]
        url = "http://127.0.0.1:8000/mcp"
        transport = "http"
        token_request = "audience"
        audience = ["one", "two"]
        scopes = ["finance.read"]
        [upstreams.other]
        url = "{FINANCE}"
        audience = "single"
        [audit]
        path = "{tmp_path}/trail"
        otlp = "http://127.0.0.1:4318"
        deliver = "required"
        max_backlog = 20
        [network]
        proxy = "http://proxy.example.com:3128"
        ca_bundle = "{bundle}"
        [storage]
        backend = "file"
        key_file = "{tmp_path}/key"
        directory = "{tmp_path}/store"
        [host]
        helper_tools = false
        call_timeout = "5s"
        """,
    )
    found = settings(home)
    assert found.identity.issuer == "http://[::1]:9000/realm/", "byte for byte, as RFC 8414 compares it"
    assert found.identity.flow == "device"
    assert found.identity.redirect == "http://localhost:8400,8401/back"
    assert found.identity.require_account == {"domain": "example.com"}
    assert found.identity.recheck_identity == 5400
    assert found.identity.user_key == ("tid", "oid")
    assert found.identity.authorize_params == {"kc_idp_hint": "corp"}
    assert found.identity.discovery_url == "http://[::1]:9000/metadata"
    assert found.identity.endpoints == {"token": "http://[::1]:9000/token", "jwks": "https://keys.example.com/jwks"}
    assert (found.identity.allow_unadvertised_pkce, found.identity.clock_skew) == (True, 5)
    assert found.upstreams["finance"].audience == ("one", "two")
    assert found.upstreams["other"].audience == ("single",)
    assert found.audit.path == tmp_path / "trail"
    assert (found.audit.otlp, found.audit.deliver, found.audit.max_backlog) == ("http://127.0.0.1:4318", "required", 20)
    assert found.network.proxy == "http://proxy.example.com:3128"
    assert found.network.ca_bundle == str(bundle)
    assert (found.storage.backend, found.storage.key_file) == ("file", tmp_path / "key")
    assert found.storage.directory == tmp_path / "store"
    assert (found.host.helper_tools, found.host.call_timeout) == (False, 5)


def test_all_problems_are_told_at_once_with_file_and_line(home: Path) -> None:
    path = write(
        home,
        "\n".join(
            [
                "version = 1",
                "[identity]",
                'isuer = "https://login.example.com"',
                "client_id = true",
                'recheck_identity = "soon"',
                "[upstreams.finance]",
                'url = "http://finance.example.com/mcp"',
                "[hosts]",
            ]
        ),
    )
    lines = refused(home).message.splitlines()
    assert lines[0] == "The configuration has 5 problems:"
    assert lines[1:] == [
        f"{path}:3: identity.isuer is not a known key; did you mean issuer?",
        f"{path}:4: identity.client_id must be text, not true or false",
        f'{path}:5: identity.recheck_identity must be a length of time such as "90s" or "1h30m", from 1s to 30d',
        f"{path}:7: upstreams.finance.url must use https (plain http is accepted for loopback addresses only)",
        f"{path}:8: hosts is not a known table; did you mean host?",
    ]


@pytest.mark.parametrize(
    ("table", "line", "says"),
    [
        ("", "[policy]\ndefault = 'maybe'", "policy.default must be one of allow, deny"),
        ("", "version = 2", "version must be 1"),
        ("", "version = true", "version must be 1"),
        ("", "upstreams = 'finance'", "upstreams must be tables"),
        ("", "host = 5", "host must be a table, written [host]"),
        ("", "verison = 1", "verison is not a known key; did you mean version?"),
        ("identity", "client_secret_ref = 's3cr3t'", "client_secret_ref must be"),
        ("identity", "client_secret_ref = 'keyring:'", 'must be "keyring:NAME" or "file:/ABSOLUTE/PATH"'),
        ("identity", "client_secret_ref = 'file:secret'", "and never the secret itself"),
        ("identity", "client_metadata_url = 'https://example.com'", "must have a path"),
        ("identity", "client_metadata_url = 'http://example.com/x.json'", "must use https"),
        ("identity", "client_secret = 'x'", "no secret belongs in this file"),
        ("identity", "Password = 'x'", "no secret belongs in this file"),
        ("identity", "preset = 'entre'", "did you mean entra?"),
        ("identity", "preset = ['entra']", "must be one of generic, entra"),
        ("identity", "flow = 1", "flow must be one of browser, device"),
        ("identity", "scopes = ['offline_access']", 'scopes needs "openid"'),
        ("identity", "scopes = ['openid', 'a b']", "not one scope"),
        ("identity", "scopes = 'openid'", "scopes must be a list of texts, not text"),
        ("identity", "scopes = ['openid', 5]", "scopes must be a list of texts"),
        ("identity", "user_key = []", "user_key must name at least one claim"),
        ("identity", "require_account = 'me'", "require_account must be a table of claims"),
        ("identity", "require_account = { domain = 5 }", "must name claims and the text each must have"),
        ("identity", "recheck_identity = 15", "must be a length of time"),
        ("identity", "recheck_identity = '0s'", "from 1s to 30d"),
        ("identity", "redirect = 'https://127.0.0.1:0/x'", "redirect must be http on 127.0.0.1"),
        ("identity", "redirect = 'http://192.0.2.1:0/x'", "redirect must be http on 127.0.0.1"),
        ("identity", "redirect = 'http://127.0.0.1/x'", "with a port"),
        ("identity", "redirect = 'http://127.0.0.1:70000/x'", "above 65535"),
        ("identity", "authorize_params = { state = 'mine' }", "has state, which the sign-in sets itself"),
        ("identity", "authorize_params = { code_challenge_method = 'plain' }", "which the sign-in sets itself"),
        ("identity", "authorize_params = { 'a b' = 'x' }", "has a b, which is no parameter's name"),
        ("identity", "authorize_params = { organization = 5 }", "must name parameters and the text each must have"),
        ("identity", "discovery_url = 'http://login.example.com/metadata'", "discovery_url must use https"),
        ("identity", "endpoints = 'https://login.example.com'", "endpoints must be a table of addresses, not text"),
        ("identity", "endpoints = { token = 5 }", "endpoints has token, which must be text"),
        ("identity", "endpoints = { token = 'http://a.example/t' }", "endpoints has token, which must use https"),
        ("identity", "endpoints = { tokn = 'https://a.example/t' }", "did you mean token?"),
        ("identity", "endpoints = { introspection = 'https://a.example/i' }", "has introspection, which is none of"),
        ("identity", "allow_unadvertised_pkce = 'yes'", "allow_unadvertised_pkce must be true or false"),
        ("identity", "clock_skew = '61s'", "from 0s to 1m"),
        ("upstreams.x", "transport = 'stdio'", "[upstreams.x] needs command"),
        ("upstreams.x", "transport = 'stdio'\ncommand = 'a'\nurl = 'https://a.example/mcp'", "url has no meaning with"),
        ("upstreams.x", "url = 'https://a.example/mcp'\ncommand = 'a'", "command has a meaning only with"),
        ("upstreams.x", "transport = 'stdio'\ncommand = 'a'\nargs = 'b'", "args must be a list of texts"),
        ("upstreams.x", "transport = 'stdio'\ncommand = 'a'\nenv = { A = 1 }", "must name environment variables"),
        ("upstreams.x", "transport = 'stdio'\ncommand = 'a'\nenv = { API_KEY = 'x' }", "has API_KEY, which looks like"),
        ("upstreams.x", "transport = 'stdio'\ncommand = 'a'\ntoken_meta = 'x/y'", "token_meta needs audience"),
        ("upstreams.x", "transport = 'stdio'\ncommand = 'a'\ntoken_meta = 'token'", "with its owner before it"),
        ("upstreams.x", "transport = 'stdio'\ncommand = 'a'\ntoken_meta = 'io.mcp/t'", "that MCP keeps for itself"),
        ("upstreams.x", "url = 'https://a.example/mcp'\naccess_token = 'x'", "no secret belongs"),
        ("upstreams.x", "url = 'https://u:p@a.example/mcp'", "must not carry a user name or password"),
        ("upstreams.x", "url = 'https://a.example/mcp#x'", "must not have a fragment"),
        ("upstreams.x", "url = 'finance'", "is not a complete URL"),
        ("upstreams.x", "url = 'https://a.example:port/'", "is not a complete URL"),
        ("upstreams.x", "url = 'http://127.0.0.1.example.com/'", "must use https"),
        ("upstreams.x", "scopes = ['a']", "[upstreams.x] needs url"),
        ("upstreams.Ex", "url = 'https://a.example/mcp'", "cannot be an upstream's name"),
        ("audit", "otlp = 'http://o.example'", "audit.otlp must use https"),
        ("audit", "deliver = 'required'", "audit.deliver needs otlp"),
        ("audit", "otlp = 'https://o.example'\nmax_backlog = 5", 'max_backlog needs deliver = "required"'),
        ("audit", "otlp = 'https://o.example'\ndeliver = 'required'\nmax_backlog = 0", "must be a whole number from 1"),
        ("audit", "path = 'trail'", "audit.path must be an absolute path"),
        ("network", "proxy = 'http://u:p@proxy:1'", "no secret belongs in this file"),
        ("network", "proxy = 'socks5://proxy:1'", "must be http://HOST:PORT"),
        ("network", "ca_bundle = '/nonexistent/ca.pem'", "names a file that does not exist"),
        ("storage", "backend = 'file'", 'needs key_file'),
        ("storage", "key_file = '/k'", 'only with backend = "file"'),
        ("host", "helper_tools = 1", "helper_tools must be true or false, not a number"),
        ("host", "helper_tools = 2026-11-23", "must be true or false, not a date or time"),
        ("host", "call_timeout = '2d'", "from 1s to 1d"),
    ],
)  # fmt: skip
def test_what_this_version_does_not_understand_is_an_error(home: Path, table: str, line: str, says: str) -> None:
    base = EXAMPLE.replace("version = 1\n", line + "\n" if "version" in line.lower() else "", 1)
    if table == "identity":
        text = base.replace("[identity]", f"[identity]\n{line}")
    elif table:
        text = f"{base}\n[{table}]\n{line}\n"
    elif line.startswith("["):
        text = f"{base}\n{line}\n"
    elif "version" in line:
        text = base
    else:
        text = f"{line}\n" + base.split("[upstreams.finance]")[0]
    write(home, text)
    message = refused(home).message
    assert says in message
    assert message.startswith("The configuration has a problem:"), message


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"version = ", "is not valid TOML"),
        (b'[identity]\nissuer = "a"\nissuer = "b"\n', ":3: is not valid TOML"),
        (b"version = 1\n# \xff\n", ":2: is not UTF-8 text"),
        (b"x = " + b"9" * 5000, "is not valid TOML"),
        (b"x = " + b"[" * 100_000, "is not valid TOML"),
        (b"#" * (1 << 20) + b"#", "is larger than 1 MiB"),
    ],
)
def test_a_file_that_is_no_toml_is_told_by_name_and_line(home: Path, content: bytes, says: str) -> None:
    path = write(home, "")
    path.write_bytes(content)
    message = refused(home).message
    assert str(path) in message
    assert says in message


def test_a_byte_order_mark_of_a_windows_editor_is_no_error(home: Path) -> None:
    path = write(home, "")
    path.write_bytes(b"\xef\xbb\xbf" + EXAMPLE.replace("\n", "\r\n").encode())
    assert settings(home).identity.issuer == ISSUER


def test_without_any_configuration_the_person_gets_one_to_start_from(home: Path) -> None:
    failure = refused(home)
    assert str(home / "config" / "config.toml") in failure.message
    assert failure.advice.endswith(EXAMPLE)


def test_a_file_that_is_named_must_exist(home: Path) -> None:
    write(home, EXAMPLE)
    assert f"{home}/other.toml: does not exist" in refused(home, ACP_STDIO_CONFIG=f"{home}/other.toml").message


def test_a_directory_in_place_of_the_file_is_a_problem_and_not_a_crash(home: Path) -> None:
    (home / "config" / "config.toml").mkdir(parents=True)
    assert "cannot be read" in refused(home).message


def test_the_command_line_beats_the_environment_which_beats_the_usual_file(home: Path) -> None:
    write(home, EXAMPLE)
    environment = write(home, EXAMPLE.replace("acp-stdio", "from-environment"), "environment.toml")
    line = write(home, EXAMPLE.replace("acp-stdio", "from-line"), "line.toml")
    environ = {"ACP_STDIO_HOME": str(home), "ACP_STDIO_CONFIG": str(environment), "ACP_STDIO_PROFILE": "work"}
    assert load(environ={"ACP_STDIO_HOME": str(home)}).identity.client_id == "acp-stdio"
    assert load(environ=environ).identity.client_id == "from-environment"
    assert load(environ=environ).profile == "work"
    assert load(config=line, environ=environ).identity.client_id == "from-line"
    assert load(config=line, environ=environ).config_file == line
    assert load(profile="home", environ=environ).profile == "home"


def test_a_profile_that_would_leave_its_directory_is_refused(home: Path) -> None:
    write(home, EXAMPLE)
    assert "'../x' must be 1 to 32 of a-z" in refused(home, ACP_STDIO_PROFILE="../x").message


def test_targets_choose_upstreams_by_name(home: Path) -> None:
    write(home, EXAMPLE + '[upstreams.hr]\nurl = "https://hr.example.com/mcp"\n')
    assert list(settings(home).upstreams) == ["finance", "hr"]
    assert list(settings(home, "hr").upstreams) == ["hr"]
    assert "no upstream 'finanse' in the configuration; did you mean finance?" in refused(home, "finanse").message


def test_a_url_as_target_needs_no_table_of_its_own(home: Path) -> None:
    write(home, EXAMPLE.split("[upstreams")[0])
    found = settings(home, "https://crm.example.com/mcp")
    assert [(u.name, u.url) for u in found.upstreams.values()] == [("crm-example-com", "https://crm.example.com/mcp")]


def test_a_url_that_the_configuration_knows_keeps_its_name_and_settings(home: Path) -> None:
    write(home, EXAMPLE + 'scopes = ["finance.read"]\n')
    assert settings(home, FINANCE).upstreams == settings(home, "finance").upstreams


def test_urls_that_differ_only_in_path_or_port_get_different_names(home: Path) -> None:
    write(home, EXAMPLE)
    urls = [
        "https://a.example.com/mcp",
        "https://a.example.com/other",
        "https://a.example.com:8443/mcp",
        "https://a.example.com/mcp?x=1",
        "https://[2001:db8::1]/mcp",
        "https://" + "a" * 60 + ".example.com/mcp",
    ]
    found = settings(home, *urls).upstreams
    assert sorted(upstream.url for upstream in found.values()) == sorted(urls)
    assert {settings(home, url).upstreams.popitem()[0] for url in urls} == set(found), "the same every time"


def test_a_url_needs_no_file_and_everything_is_discovered_then(home: Path) -> None:
    found = settings(home, FINANCE)
    assert (found.identity.issuer, found.identity.client_id, found.identity.scopes) == ("", "", ())
    assert [upstream.url for upstream in found.upstreams.values()] == [FINANCE]


def test_an_issuer_alone_or_nothing_of_an_identity_is_enough(home: Path) -> None:
    write(home, EXAMPLE.replace('client_id = "acp-stdio"\n', ""))
    assert (settings(home).identity.issuer, settings(home).identity.client_id) == (ISSUER, "")
    assert settings(home).identity.scopes == ("openid", "offline_access")
    write(home, f'version = 1\n[upstreams.finance]\nurl = "{FINANCE}"\nprincipal = "unverified"\n')
    assert settings(home).identity.issuer == ""
    assert settings(home).upstreams["finance"].principal == "unverified"


def test_a_secret_is_for_the_issuer_and_client_beside_it_only(home: Path) -> None:
    text = EXAMPLE.replace("[identity]", "[identity]\nclient_secret_ref = 'keyring:finance'")
    write(home, text)
    assert settings(home).identity.client_secret_ref == "keyring:finance"
    for missing in (f'issuer = "{ISSUER}"\n', 'client_id = "acp-stdio"\n'):
        write(home, text.replace(missing, ""))
        assert "client_secret_ref needs issuer and client_id" in refused(home).message


def test_scopes_without_openid_are_for_upstreams_that_need_not_know_who_it_is(home: Path) -> None:
    text = EXAMPLE.replace("[identity]", "[identity]\nscopes = ['read']")
    write(home, text)
    assert 'needs "openid"' in refused(home).message
    write(home, text + 'principal = "unverified"\n')
    assert settings(home).identity.scopes == ("read",)


def test_a_command_that_asks_nobody_does_without_a_file_after_a_sign_in_by_url(home: Path) -> None:
    environ = {"ACP_STDIO_HOME": str(home)}
    with pytest.raises(Failure, match="There is no configuration yet"):
        load(environ=environ, bare=True)
    state = user_paths(environ).state / "default"
    state.mkdir(parents=True)
    (state / "session.json").write_text("{}")
    assert load(environ=environ, bare=True).upstreams == {}
    with pytest.raises(Failure, match="There is no configuration yet"):
        load(environ=environ)


def test_a_password_in_a_target_is_refused_and_not_repeated(home: Path) -> None:
    write(home, EXAMPLE)
    message = refused(home, "https://sarah:hunter2@finance.example.com/mcp").message
    assert "must not carry a user name or password" in message
    assert "hunter2" not in message


def test_entra_changes_the_defaults_that_its_quirks_need(home: Path) -> None:
    app = "11111111-2222-3333-4444-555555555555"
    text = EXAMPLE.replace("[identity]", '[identity]\npreset = "entra"')
    write(home, text + f'scopes = ["api://{app}/finance.read"]\n')
    found = settings(home)
    assert found.identity.redirect == "http://localhost:0"
    assert found.identity.user_key == ("tid", "oid")
    assert found.identity.user_label[0] == "preferred_username"
    assert {"openid", "offline_access"} <= set(found.identity.scopes)
    assert found.upstreams["finance"].token_request == "scope"


def test_what_the_file_says_beats_the_preset(home: Path) -> None:
    text = EXAMPLE.replace("[identity]", '[identity]\npreset = "entra"\nuser_key = ["sub"]')
    write(home, text + 'scopes = ["api://x/y"]\naudience = "z"\ntoken_request = "omit"\n')
    found = settings(home)
    assert found.identity.user_key == ("sub",)
    assert found.upstreams["finance"].audience == ("z",)
    assert found.upstreams["finance"].token_request == "omit"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("", "[upstreams.finance] needs scopes"),
        ("scopes = []\n", "scopes must not be empty"),
        ('scopes = ["finance.read"]\n', "write api://APP-ID/finance.read"),
    ],
)
def test_entra_scopes_that_would_name_another_api_are_refused(home: Path, change: str, says: str) -> None:
    write(home, EXAMPLE.replace("[identity]", '[identity]\npreset = "entra"') + change)
    assert says in refused(home).message


def test_the_files_that_outdate_a_remembered_start_are_the_managed_and_the_chosen_one(home: Path) -> None:
    environ = {"ACP_STDIO_HOME": str(home)}
    paths = user_paths(environ)
    assert config_files(paths, chosen_file(None, environ)) == (managed.PLACE, paths.config_file)
    named = chosen_file(None, {**environ, "ACP_STDIO_CONFIG": "/etc/other.toml"})
    assert config_files(paths, named) == (managed.PLACE, Path("/etc/other.toml"))
    assert config_files(paths, chosen_file(Path("/a.toml"), environ)) == (managed.PLACE, Path("/a.toml"))


@pytest.mark.parametrize(
    ("preset", "issuer", "words"),
    [
        ("okta", "https://company.okta.com", "org authorization server"),
        ("auth0", "https://company.eu.auth0.com", "must end with /"),
        ("keycloak", "https://sso.example.com", "must name the realm"),
        ("cognito", "https://company.auth.eu-central-1.amazoncognito.com", "the issuer is the user pool"),
    ],
)
def test_an_issuer_that_a_preset_never_has_is_refused_with_the_right_form(
    home: Path, preset: str, issuer: str, words: str
) -> None:
    text = EXAMPLE.replace("[identity]", f'[identity]\npreset = "{preset}"').replace(ISSUER, issuer)
    write(home, text + 'scopes = ["a/b"]\n')
    assert words in refused(home).message


@pytest.mark.parametrize(("preset", "good"), [("google", False), ("cognito", False), ("okta", True)])
def test_offline_access_is_refused_for_providers_that_do_not_have_it(home: Path, preset: str, good: bool) -> None:
    lines = f'[identity]\npreset = "{preset}"\nscopes = ["openid", "offline_access"]'
    write(home, EXAMPLE.replace("[identity]", lines).replace(ISSUER, f"{ISSUER}/oauth2/x") + 'scopes = ["a/b"]\n')
    if good:
        assert settings(home).identity.scopes == ("openid", "offline_access")
    else:
        assert "scopes has offline_access" in refused(home).message


@pytest.mark.parametrize("preset", ["entra", "okta", "google", "ping", "github"])
def test_a_resource_is_not_written_for_providers_that_refuse_or_ignore_it(home: Path, preset: str) -> None:
    text = EXAMPLE.replace("[identity]", f'[identity]\npreset = "{preset}"').replace(ISSUER, f"{ISSUER}/oauth2/x")
    write(home, text + 'token_request = "resource"\nscopes = ["api://a/b"]\n')
    assert f"token_request cannot be resource with preset = '{preset}'" in refused(home).message


def test_each_value_says_where_it_came_from(home: Path) -> None:
    path = write(home, EXAMPLE.replace("[identity]", '[identity]\npreset = "entra"') + 'scopes = ["api://a/b"]\n')
    found = settings(home).identity.origins
    assert found["issuer"] == found["preset"] == f"file {path}"
    assert found["user_key"] == "preset entra"
    assert found["recheck_identity"] == "default"


@pytest.mark.parametrize(
    "line", ["discovery_url = 'https://a.example/m'", "endpoints = { token = 'https://a.example/t' }",
             "allow_unadvertised_pkce = true"],
)  # fmt: skip
def test_how_an_issuer_is_reached_says_nothing_where_none_is_named(home: Path, line: str) -> None:
    write(home, f'[identity]\n{line}\n[upstreams.finance]\nurl = "{FINANCE}"\n')
    assert f"identity.{line.partition(' ')[0]} needs an issuer" in refused(home).message


def test_an_opaque_token_is_for_its_origin_and_no_audience_says_more(home: Path) -> None:
    write(home, EXAMPLE + 'token_format = "opaque"\n')
    assert settings(home).upstreams["finance"].token_format == "opaque"
    write(home, EXAMPLE + 'token_format = "opaque"\naudience = "https://a.example"\n')
    assert "cannot be read" in refused(home).message


def test_a_child_server_is_a_command_and_takes_no_token_unless_it_says_where(home: Path) -> None:
    child = (
        "[upstreams.{0}]\ntransport = 'stdio'\ncommand = 'npx'\nargs = ['-y', '-y', 'a b']\nenv = {{ TZ = 'UTC' }}\n"
    )
    token = "token_meta = 'com.example/token'\naudience = 'https://api.example.com'\n"
    write(home, EXAMPLE + child.format("plain") + child.format("known") + token)
    found = settings(home).upstreams
    assert found["plain"].command == ("npx", "-y", "-y", "a b")
    assert found["plain"].env == {"TZ": "UTC"}
    assert found["plain"].url == "stdio:npx -y -y 'a b'"
    assert (found["plain"].takes_token, found["known"].takes_token) == (False, True)
    assert found["known"].resource == "https://api.example.com"
