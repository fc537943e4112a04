//! The routes of the users service.

use axum::extract::State;
use http::StatusCode;
use leeward_service::{Access, Api, Caller, Cause, Json, Path, Problem, Query, routes};
use shop_contracts::{Page, PageQuery};

use crate::audit::AuditLine;
use crate::roles::Role;
use crate::service::Users;
use crate::wire::{
    KeySet, Login, Preferences, Profile, RefreshToken, Register, RoleEntry, Rotated, SetRole, Tokens,
    UpdateProfile,
};

/// Every route with who may call it.
pub(crate) fn api() -> Api<Users> {
    Api::new()
        .add(Access::Anyone, routes!(register))
        .add(Access::Anyone, routes!(login))
        .add(Access::Anyone, routes!(refresh))
        .add(Access::Anyone, routes!(logout))
        .add(Access::Anyone, routes!(key_set))
        .add(Access::User, routes!(me, update_me, erase_me))
        .add(Access::User, routes!(preferences, set_preferences))
        .add(Access::Permission("users:read"), routes!(list))
        .add(Access::Permission("users:read"), routes!(roles))
        .add(Access::Permission("users:read"), routes!(audit))
        .add(Access::Permission("users:write"), routes!(set_role))
        .add(Access::Permission("users:write"), routes!(rotate))
}

/// Makes a customer's account.
#[utoipa::path(post, path = "/auth/register", request_body = Register, responses(
    (status = 201, body = Profile), (status = 409, description = "account_exists"),
    (status = 422, description = "invalid"), (status = 503, description = "too many at once")))]
async fn register(
    State(users): State<Users>,
    Cause(cause): Cause,
    Json(request): Json<Register>,
) -> Result<(StatusCode, Json<Profile>), Problem> {
    request.check()?;
    let account = users.register(request, cause).await?;
    Ok((StatusCode::CREATED, Json(account.into())))
}

/// Starts a session.
#[utoipa::path(post, path = "/auth/login", request_body = Login, responses(
    (status = 200, body = Tokens), (status = 401, description = "credentials_wrong"),
    (status = 429, description = "login_throttled"), (status = 503, description = "too many at once")))]
async fn login(State(users): State<Users>, Json(request): Json<Login>) -> Result<Json<Tokens>, Problem> {
    request.check()?;
    Ok(Json(users.login(&request.email, request.password).await?))
}

/// The next pair of tokens.
#[utoipa::path(post, path = "/auth/refresh", request_body = RefreshToken, responses(
    (status = 200, body = Tokens), (status = 401, description = "refresh_refused")))]
async fn refresh(
    State(users): State<Users>,
    Cause(cause): Cause,
    Json(request): Json<RefreshToken>,
) -> Result<Json<Tokens>, Problem> {
    Ok(Json(users.refresh(&request.refresh_token, cause).await?))
}

/// Ends a session and revokes its access tokens.
#[utoipa::path(post, path = "/auth/logout", request_body = RefreshToken, responses((status = 204)))]
async fn logout(
    State(users): State<Users>,
    Cause(cause): Cause,
    Json(request): Json<RefreshToken>,
) -> Result<StatusCode, Problem> {
    users.logout(&request.refresh_token, cause).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The keys that access tokens are checked with.
#[utoipa::path(get, path = "/.well-known/jwks.json", responses((status = 200, body = KeySet)))]
async fn key_set(State(users): State<Users>) -> Json<KeySet> {
    Json(KeySet { keys: users.keys.published(users.clock.unix_ms()) })
}

/// The caller's own data.
#[utoipa::path(get, path = "/users/me", responses((status = 200, body = Profile)))]
async fn me(State(users): State<Users>, caller: Caller) -> Result<Json<Profile>, Problem> {
    Ok(Json(users.account(caller.user_id()?).await?.into()))
}

/// Changes the caller's own data.
#[utoipa::path(patch, path = "/users/me", request_body = UpdateProfile, responses(
    (status = 200, body = Profile), (status = 422, description = "invalid")))]
async fn update_me(
    State(users): State<Users>,
    caller: Caller,
    Json(request): Json<UpdateProfile>,
) -> Result<Json<Profile>, Problem> {
    request.check()?;
    Ok(Json(users.rename(caller.user_id()?, request.name).await?.into()))
}

/// Erases the caller's account and everything that names the person.
#[utoipa::path(delete, path = "/users/me", responses((status = 204), (status = 409, description = "conflict: the last administrator")))]
async fn erase_me(
    State(users): State<Users>,
    Cause(cause): Cause,
    caller: Caller,
) -> Result<StatusCode, Problem> {
    users.erase(caller.user_id()?, cause).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// How the caller wants to be reached.
#[utoipa::path(get, path = "/users/me/preferences", responses((status = 200, body = Preferences)))]
async fn preferences(State(users): State<Users>, caller: Caller) -> Result<Json<Preferences>, Problem> {
    Ok(Json(users.preferences(caller.user_id()?).await?))
}

/// Changes how the caller wants to be reached.
#[utoipa::path(put, path = "/users/me/preferences", request_body = Preferences, responses(
    (status = 200, body = Preferences), (status = 422, description = "invalid")))]
async fn set_preferences(
    State(users): State<Users>,
    Cause(cause): Cause,
    caller: Caller,
    Json(request): Json<Preferences>,
) -> Result<Json<Preferences>, Problem> {
    request.check()?;
    users.set_preferences(caller.user_id()?, request.clone(), cause).await?;
    Ok(Json(request))
}

/// All accounts, in the order of their registration.
#[utoipa::path(get, path = "/users", params(PageQuery), responses((status = 200, body = Page<Profile>)))]
async fn list(
    State(users): State<Users>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<Profile>>, Problem> {
    let limit = page.limit()?;
    let accounts = users.list(page.after().to_owned(), limit + 1).await?;
    let profiles = accounts.into_iter().map(Profile::from).collect();
    Ok(Json(Page::cut(profiles, limit, |profile: &Profile| profile.user_id.to_string())))
}

/// The roles, and what each may do.
#[utoipa::path(get, path = "/users/roles", responses((status = 200, body = Vec<RoleEntry>)))]
async fn roles() -> Json<Vec<RoleEntry>> {
    Json(Role::ALL.into_iter().map(RoleEntry::from).collect())
}

/// The audit log, newest first.
#[utoipa::path(get, path = "/users/audit", params(PageQuery), responses((status = 200, body = Page<AuditLine>)))]
async fn audit(
    State(users): State<Users>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Page<AuditLine>>, Problem> {
    let limit = page.limit()?;
    let lines = users.audit(page.before()?, limit + 1).await?;
    Ok(Json(Page::cut(lines, limit, |line: &AuditLine| line.seq.to_string())))
}

/// Changes a user's role.
#[utoipa::path(put, path = "/users/{user_id}/role", request_body = SetRole,
    params(("user_id" = String, Path, description = "the user")),
    responses((status = 204), (status = 404, description = "not_found"),
        (status = 409, description = "conflict: the last administrator")))]
async fn set_role(
    State(users): State<Users>,
    Cause(cause): Cause,
    caller: Caller,
    Path(user_id): Path<String>,
    Json(request): Json<SetRole>,
) -> Result<StatusCode, Problem> {
    users.set_role(caller.user_id()?, &user_id, request.role, cause).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Retires the signing key and starts a new one. Tokens of the old one stay good until they end.
#[utoipa::path(post, path = "/users/keys/rotate", responses((status = 200, body = Rotated)))]
async fn rotate(State(users): State<Users>, caller: Caller) -> Result<Json<Rotated>, Problem> {
    let actor = caller.user_id()?.to_string();
    let now_ms = users.clock.unix_ms();
    let kid = users.keys.rotate(&users.db, actor, now_ms).await.map_err(|error| Problem::internal(&error))?;
    Ok(Json(Rotated { kid }))
}
