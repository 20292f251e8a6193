//! The OpenAPI document, made of what the handlers declare, and the page that shows it.

use axum::{
    Router,
    http::{HeaderValue, Method, header},
    middleware::map_response,
    response::Response,
};
use utoipa::{
    OpenApi,
    openapi::{
        self, ContentBuilder, ObjectBuilder, PathItem, Ref, RefOr, ResponseBuilder, Type,
        path::{Operation, Parameter, ParameterBuilder, ParameterIn},
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::{error::Problem, idempotency, state::AppState};

/// The name of the security scheme in the document.
pub(super) const SCHEME: &str = "api_key";

/// Where the page and the document are.
pub(super) const PAGES: [&str; 4] = ["/openapi.json", "/docs", "/docs/", "/docs/{*rest}"];

/// The document without routes; [`super::scopes::Routes`] adds them.
pub(super) fn document() -> openapi::OpenApi {
    #[derive(OpenApi)]
    #[openapi(
        info(
            title = "txcat",
            description = "Categorizes bank transactions. Errors are `application/problem+json` (RFC 9457); \
                           every answer carries `x-request-id`.",
            license(name = "Apache-2.0", identifier = "Apache-2.0")
        ),
        components(schemas(Problem)),
        tags(
            (name = "transactions", description = "Send, look at and list transactions"),
            (name = "reviews", description = "The review queue, and corrections"),
            (name = "merchants", description = "Merchants as statements write them: traffic, names, merges"),
            (name = "taxonomy", description = "The closed set of categories"),
            (name = "accuracy", description = "What was measured"),
            (name = "advice", description = "Which lever to pull next, with what it costs"),
            (name = "recategorizations", description = "Stored transactions categorized anew: preview, apply, undo"),
            (name = "events", description = "What changed of transactions: a feed to read again from any place, and endpoints that are told"),
            (name = "datasets", description = "Labelled sets, and what the label gate found about them"),
            (name = "adapters", description = "Adapters: what there is, where each stands and on what evidence, and its moves"),
            (name = "accounts", description = "One account as a whole: all that is stored of it, and its erasure"),
            (name = "finetune", description = "Word from providers that train a model"),
            (name = "health", description = "For whoever runs it")
        )
    )]
    struct Document;

    let mut document = Document::openapi();
    let scheme = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("An API key from `txcat keys create`. Bound to loopback without keys, none is needed."))
        .build();
    let components = document.components.get_or_insert_default();
    components.security_schemes.insert(SCHEME.to_owned(), SecurityScheme::Http(scheme).into());
    document
}

/// The page and the document, served from this process alone: the policy keeps a browser from
/// fetching or telling anything elsewhere, and the page's own online validator is off.
pub(super) fn pages(document: openapi::OpenApi) -> Router<AppState> {
    let config = Config::default().validator_url("none");
    let pages: Router<AppState> = SwaggerUi::new("/docs").config(config).url("/openapi.json", document).into();
    pages.layer(map_response(async |mut page: Response| {
        let policy = "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'";
        page.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
        page
    }))
}

/// The operations of a path, with their methods.
pub(super) fn operations(item: &mut PathItem) -> impl Iterator<Item = (Method, &mut Operation)> {
    [
        (Method::GET, &mut item.get),
        (Method::POST, &mut item.post),
        (Method::PUT, &mut item.put),
        (Method::PATCH, &mut item.patch),
        (Method::DELETE, &mut item.delete),
    ]
    .into_iter()
    .filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

/// Adds what every guarded route may answer, and what one that reads a body or a query may.
pub(super) fn describe_refusals(operation: &mut Operation) {
    let guarded = [
        ("401", "No valid API key"),
        ("403", "The key lacks the scope"),
        ("429", "More requests a minute, or rows a day, than the key may: `Retry-After` says when to come again"),
        ("500", "Something broke; the cause is in the log under the request id"),
        ("503", "The database is not available, or it took too long: send the same request again"),
    ];
    let in_query =
        |parameter: &RefOr<Parameter>| matches!(parameter, RefOr::T(known) if known.parameter_in == ParameterIn::Query);
    let unread: &[_] = if operation.request_body.is_some() {
        &[("400", "Not JSON text"), ("415", "Not sent as JSON")]
    } else if operation.parameters.iter().flatten().any(in_query) {
        &[("400", "The query can't be read")]
    } else {
        &[]
    };
    for (status, description) in guarded.iter().chain(unread) {
        operation.responses.responses.insert((*status).to_owned(), refusal(description));
    }
}

fn refusal(description: &str) -> RefOr<openapi::Response> {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    ResponseBuilder::new().description(description).content("application/problem+json", content).build().into()
}

/// Adds what a request with an idempotency key may carry and be answered, where the route doesn't say what such an answer means.
pub(super) fn describe_idempotency(operation: &mut Operation) {
    let text =
        ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(idempotency::LONGEST));
    let key = ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .description(Some(
            "Made up by the caller, once for each thing to be done. For 24 hours the same request with the same key is answered as it \
             was the first time, with `Idempotency-Replayed: true`; answers of 429 and 5xx are not kept, and a secret, which is shown once, is `null` then.",
        ))
        .schema(Some(text))
        .build();
    operation.parameters.get_or_insert_default().push(key.into());
    for (status, description) in [
        ("400", "No such idempotency key can be"),
        ("409", "The first request with this idempotency key is under way: `Retry-After` says when to come again"),
        (
            "410",
            "The request with this idempotency key was done, and its answer went with an account that was erased since",
        ),
        ("413", "More than 4 MiB"),
        ("422", "The idempotency key was sent with another body"),
    ] {
        operation.responses.responses.entry(status.to_owned()).or_insert_with(|| refusal(description));
    }
}
