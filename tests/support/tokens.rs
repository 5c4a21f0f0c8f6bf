//! A registry's token server: tokens of limited scope and life, given for a login or to anybody.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use airgap_bundler::serve::{self, Options, Running};
use axum::{
    Router,
    body::to_bytes,
    extract::Request,
    http::{Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::any,
};
use serde_json::json;

use super::registry::{Wrap, basic, wait_for};

/// Says how the token server behaves.
#[derive(Clone, Debug)]
pub struct Policy {
    /// How long a token is good.
    pub life: Duration,
    /// What the answer says about that, in seconds; nothing when not given. It may lie.
    pub expires_in: Option<u64>,
    /// The field that holds the token: `token` or `access_token`.
    pub field: &'static str,
    /// The login for everything; without a login, tokens are given to anybody.
    pub login: Option<(&'static str, &'static str)>,
    /// Whether tokens to pull are given without a login.
    pub anonymous_pull: bool,
    /// A refresh token that is taken by `POST` instead of a login.
    pub refresh_token: Option<&'static str>,
    /// The scheme in the challenge, which is not sensitive to case.
    pub scheme: &'static str,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            life: Duration::from_secs(300),
            expires_in: Some(300),
            field: "token",
            login: Some(("user", "secret")),
            anonymous_pull: true,
            refresh_token: None,
            scheme: "Bearer",
        }
    }
}

/// Tells of a token that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    pub method: String,
    pub scopes: Vec<String>,
    /// Whether the client proved who it is.
    pub known: bool,
    /// Whether it got a token.
    pub given: bool,
}

#[derive(Debug)]
struct Token {
    scopes: Vec<String>,
    until: Instant,
}

#[derive(Debug, Default)]
struct State {
    tokens: HashMap<String, Token>,
    log: Vec<Issued>,
}

/// Is a token server on a port of its own; dropping it stops it.
pub struct Tokens {
    running: Running,
    policy: Policy,
    state: Arc<Mutex<State>>,
}

const SERVICE: &str = "registry.test";

impl Tokens {
    pub fn start(policy: Policy) -> Tokens {
        let state: Arc<Mutex<State>> = Arc::default();
        let (shared, rules) = (Arc::clone(&state), policy.clone());
        let issue = move |request: Request| issue(request, rules.clone(), Arc::clone(&shared));
        let router = Router::new().route("/token", any(issue));
        let running = wait_for(async move { serve::listen(&Options::default(), router).await }).unwrap();
        Tokens { running, policy, state }
    }

    pub fn addr(&self) -> SocketAddr {
        self.running.addr()
    }

    /// Returns every request for a token so far.
    pub fn log(&self) -> Vec<Issued> {
        self.state.lock().unwrap().log.clone()
    }

    /// Makes every token that was given so far void.
    pub fn revoke_all(&self) {
        self.state.lock().unwrap().tokens.clear();
    }

    /// Makes a registry want these tokens; see [`super::registry::Setup::wrap`].
    pub fn wrap(&self) -> Wrap {
        let state = Arc::clone(&self.state);
        let scheme = self.policy.scheme;
        let realm = format!("http://{}/token", self.addr());
        Box::new(move |router| {
            router.layer(middleware::from_fn(move |request: Request, next: Next| {
                let refusal = judge(&request, &state, scheme, &realm);
                async move {
                    match refusal {
                        Some(refusal) => refusal,
                        None => next.run(request).await,
                    }
                }
            }))
        })
    }
}

/// Returns the answer to a request that has no good token.
fn judge(request: &Request, state: &Mutex<State>, scheme: &str, realm: &str) -> Option<Response> {
    let needed = needed(request);
    let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let state = state.lock().unwrap();
    let token = given.and_then(|given| given.strip_prefix("Bearer ")).and_then(|token| state.tokens.get(token));
    let problem = match (given, token) {
        (_, Some(token)) if token.until > Instant::now() => {
            if needed.iter().all(|scope| covers(&token.scopes, scope)) {
                return None;
            }
            ",error=\"insufficient_scope\""
        }
        (Some(_), _) => ",error=\"invalid_token\"",
        (None, _) => "",
    };
    let mut challenge = format!("{scheme} realm=\"{realm}\",service=\"{SERVICE}\"");
    if !needed.is_empty() {
        challenge.push_str(&format!(",scope=\"{}\"", needed.join(" ")));
    }
    challenge.push_str(problem);
    let body = json!({"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]}).to_string();
    Some((StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)], body).into_response())
}

/// Returns the scopes that a request needs, as distribution's token documentation names them.
fn needed(request: &Request) -> Vec<String> {
    let path = request.uri().path();
    if path == "/v2/_catalog" {
        return vec!["registry:catalog:*".into()];
    }
    let Some(path) = path.strip_prefix("/v2/") else { return Vec::new() };
    let end = ["/manifests/", "/blobs/", "/tags/", "/referrers/"].iter().filter_map(|marker| path.rfind(marker)).max();
    let Some(end) = end else { return Vec::new() };
    let actions = match *request.method() {
        Method::GET | Method::HEAD => "pull",
        Method::DELETE => "delete",
        _ => "pull,push",
    };
    let name = path[..end].trim_end_matches("/blobs");
    let mut scopes = vec![format!("repository:{name}:{actions}")];
    for (key, from) in url::form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()) {
        if key == "from" {
            scopes.push(format!("repository:{from}:pull"));
        }
    }
    scopes
}

fn covers(held: &[String], wanted: &str) -> bool {
    let Some((resource, actions)) = wanted.rsplit_once(':') else { return false };
    actions.split(',').all(|action| {
        held.iter().filter_map(|scope| scope.rsplit_once(':')).any(|(held_resource, held_actions)| {
            held_resource == resource && held_actions.split(',').any(|held| held == action || held == "*")
        })
    })
}

async fn issue(request: Request, policy: Policy, state: Arc<Mutex<State>>) -> Response {
    let (parts, body) = request.into_parts();
    let form = to_bytes(body, 1 << 20).await.unwrap_or_default();
    let query = parts.uri.query().unwrap_or_default().as_bytes().to_vec();
    let fields: Vec<(String, String)> =
        url::form_urlencoded::parse(if parts.method == Method::POST { &form } else { &query })
            .map(|(key, value)| (key.into_owned(), value.into_owned()))
            .collect();
    let get = |key: &str| fields.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str());
    let scopes: Vec<String> = fields
        .iter()
        .filter(|(key, _)| key == "scope")
        .flat_map(|(_, value)| value.split(' ').map(str::to_owned).collect::<Vec<_>>())
        .filter(|scope| !scope.is_empty())
        .collect();
    let authorization = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let known = match policy.login {
        None => true,
        Some((user, password)) => {
            authorization == Some(basic(user, password).as_str())
                || (get("grant_type") == Some("password")
                    && (get("username"), get("password")) == (Some(user), Some(password)))
                || (get("grant_type") == Some("refresh_token")
                    && policy.refresh_token.is_some()
                    && get("refresh_token") == policy.refresh_token)
        }
    };
    // A wrong login is refused; no login at all gets what anybody gets.
    let claims = authorization.is_some() || parts.method == Method::POST;
    let granted: Vec<String> = match known {
        true => scopes.clone(),
        false if policy.anonymous_pull && !claims => scopes
            .iter()
            .filter_map(|scope| scope.rsplit_once(':'))
            .filter(|(_, actions)| actions.split(',').any(|action| action == "pull"))
            .map(|(resource, _)| format!("{resource}:pull"))
            .collect(),
        false => Vec::new(),
    };
    let given = known || (policy.anonymous_pull && !claims);
    let mut state = state.lock().unwrap();
    state.log.push(Issued { method: parts.method.to_string(), scopes, known, given });
    if !given || get("service").is_none_or(|service| service != SERVICE) {
        return (StatusCode::UNAUTHORIZED, "{\"details\":\"incorrect username or password\"}").into_response();
    }
    let token = format!("token-{}", state.log.len());
    state.tokens.insert(token.clone(), Token { scopes: granted, until: Instant::now() + policy.life });
    let mut answer = json!({policy.field: token});
    if let Some(seconds) = policy.expires_in {
        answer["expires_in"] = json!(seconds);
    }
    ([(header::CONTENT_TYPE, "application/json")], answer.to_string()).into_response()
}
