"""The helper that the tests of Flask-pyoidc import, and that its source distribution leaves out."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any


def signed_id_token(claims: dict[str, Any]) -> tuple[str, Any]:
    """An ID token with these claims, and the key that signs it."""
    key = importlib.import_module("jwkest.jwk").SYMKey(alg="HS256", key="a key of tests", kid="1")
    token = importlib.import_module("oic.oic").IdToken(**claims)
    return str(token.to_jwt(key=[key], algorithm="HS256")), key


_module: Any = ModuleType("tests.util")
_module.signed_id_token = signed_id_token
sys.modules["tests.util"] = _module
