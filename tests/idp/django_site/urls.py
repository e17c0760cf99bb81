"""Its addresses."""

from typing import Any, cast

from django import urls
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, JsonResponse
from oauth2_provider.urls import metadata_urlpatterns

import django_site


def log(request: HttpRequest) -> JsonResponse:
    """What was asked."""
    return JsonResponse({"asked": django_site.asked})


untyped = cast("Any", urls)  # Django has no types
path, include, login = untyped.path, untyped.include, cast("Any", LoginView)

urlpatterns = [
    path("o/", include("oauth2_provider.urls", namespace="oauth2_provider")),
    path("login", login.as_view(template_name="login.html")),
    path("_log", log),
    *metadata_urlpatterns,
]
