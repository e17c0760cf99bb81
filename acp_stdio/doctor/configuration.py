"""The configuration: which files it came from, or every problem in it."""

from acp_stdio.doctor.check import Case
from acp_stdio.doctor.finding import Finding, ok, warning
from acp_stdio.oauth.asking import check_identity, check_scopes
from acp_stdio.oauth.presets import preset_of
from acp_stdio.settings import managed
from acp_stdio.settings.policy_files import signed_rules_of


def probe(case: Case) -> Finding:
    """The layers at hand. It loaded, or there were no case; what only a sign-in would refuse is asked here."""
    settings = case.settings
    for mine in settings.by_identity():
        check_identity(mine.identity)
        for upstream in mine.upstreams.values():
            check_scopes(upstream, preset_of(mine.identity))
    files = [str(path) for path in (managed.PLACE, settings.config_file) if path is not None and path.is_file()]
    variables = sorted(name for name in case.environ if name.startswith("ACP_STDIO_"))
    details: dict[str, object] = {
        "config": str(settings.paths.config),
        "files": files,
        "variables": variables,
        "profile": settings.profile,
        "issuer": settings.identity.issuer,
        "preset": settings.identity.preset,
        "identities": {name: each.issuer for name, each in settings.identities.items()},
        "upstreams": {name: upstream.url for name, upstream in settings.upstreams.items()},
    }
    layers = ", ".join([*files, *variables]) or "the command line alone"
    if not settings.upstreams:
        return warning(
            f"{layers}: no upstream is configured",
            "Add a table such as [upstreams.finance] with the url of an MCP server.",
            **details,
        )
    words = [f"{layers}; profile {settings.profile}, upstreams: {', '.join(settings.upstreams)}"]
    if settings.policy is not None:
        signed = signed_rules_of(settings)
        by = f"signed by {signed.signer}, serial {signed.serial}" if signed else "not signed"
        words.append(f"rules {settings.policy.version}, {by}")
        details["policy"] = {"version": settings.policy.version, "signed_by": signed.signer if signed else None}
    return ok("; ".join(words), **details)
