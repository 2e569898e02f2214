"""`/api/credential`: what workflows sign in with. Values go in; no endpoint answers them."""

from contracts.credential import (
    ChangeCredential,
    CreateCredential,
    Credential,
    CredentialRef,
    CredentialUse,
    ListCredentials,
    ListUses,
    ReplaceValues,
)
from contracts.declare import Endpoint
from contracts.errors import Code
from contracts.identity import Scope
from contracts.model import Nothing, Page


class CredentialApi:
    """Owners and admins keep them; whoever may draw workflows may see their names."""

    create_credential = Endpoint(
        method="POST",
        path="/api/credential",
        request=CreateCredential,
        result=Credential,
        status=201,
        summary="Keep a credential. Its values are sealed and never shown again.",
        scope=Scope.CREDENTIAL_WRITE,
        tag="credential",
        errors=(Code.CONFLICT, Code.LIMIT_REACHED, Code.NOT_CONFIGURED),
    )
    list_credentials = Endpoint(
        method="GET",
        path="/api/credential",
        request=ListCredentials,
        result=Page[Credential],
        summary="Credentials, newest first, without their values.",
        scope=Scope.CREDENTIAL_READ,
        tag="credential",
    )
    get_credential = Endpoint(
        method="GET",
        path="/api/credential/{credential_id}",
        request=CredentialRef,
        result=Credential,
        summary="What may be known of a credential.",
        scope=Scope.CREDENTIAL_READ,
        tag="credential",
        errors=(Code.NOT_FOUND,),
    )
    change_credential = Endpoint(
        method="PATCH",
        path="/api/credential/{credential_id}",
        request=ChangeCredential,
        result=Credential,
        summary="Rename it, or say where it may go.",
        scope=Scope.CREDENTIAL_WRITE,
        tag="credential",
        errors=(Code.NOT_FOUND, Code.CONFLICT),
    )
    replace_values = Endpoint(
        method="PUT",
        path="/api/credential/{credential_id}/values",
        request=ReplaceValues,
        result=Credential,
        summary="Replace its values; those before are gone.",
        scope=Scope.CREDENTIAL_WRITE,
        tag="credential",
        errors=(Code.NOT_FOUND, Code.INVALID, Code.NOT_CONFIGURED),
    )
    delete_credential = Endpoint(
        method="DELETE",
        path="/api/credential/{credential_id}",
        request=CredentialRef,
        result=Nothing,
        status=204,
        summary="Delete it with its values; workflows that name it fail from then on.",
        scope=Scope.CREDENTIAL_WRITE,
        tag="credential",
        errors=(Code.NOT_FOUND,),
    )
    list_uses = Endpoint(
        method="GET",
        path="/api/credential/{credential_id}/uses",
        request=ListUses,
        result=Page[CredentialUse],
        summary="Where it went, newest first.",
        scope=Scope.AUDIT,
        tag="credential",
        errors=(Code.NOT_FOUND,),
    )
