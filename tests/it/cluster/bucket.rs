//! A bucket: as much of S3 as reading and writing small files needs, in this process.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};

use super::places::{answers, recategorize, rows, spread};
use crate::harness::Run as _;

type Objects = Arc<Mutex<BTreeMap<String, Bytes>>>;

const WRITTEN: &str = "2026-03-14T09:26:53.000Z";

async fn answer(State(objects): State<Objects>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let path = uri.path().trim_start_matches('/');
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    assert_eq!(bucket, "rows-and-answers");
    assert!(headers["authorization"].to_str().unwrap().contains("Credential=somebody/"), "{headers:?}");
    let key: String = key.replace("%20", " ");
    let mut objects = objects.lock().unwrap();
    match method {
        Method::PUT => {
            objects.insert(key, body);
            ([("etag", "\"1\"")], "").into_response()
        }
        Method::GET if key.is_empty() => {
            let query: BTreeMap<String, String> = serde_urlencoded::from_str(uri.query().unwrap()).unwrap();
            let prefix = query.get("prefix").cloned().unwrap_or_default();
            let found = objects.iter().filter(|(key, _)| key.starts_with(&prefix));
            let listed: String = found
                .map(|(key, bytes)| {
                    let size = bytes.len();
                    format!(
                        "<Contents><Key>{key}</Key><LastModified>{WRITTEN}</LastModified><ETag>\"1\"</ETag>\
                         <Size>{size}</Size></Contents>"
                    )
                })
                .collect();
            format!("<ListBucketResult><IsTruncated>false</IsTruncated>{listed}</ListBucketResult>").into_response()
        }
        Method::GET | Method::HEAD => match objects.get(&key) {
            None => StatusCode::NOT_FOUND.into_response(),
            Some(bytes) => object(bytes, &method, &headers),
        },
        _ => StatusCode::NOT_IMPLEMENTED.into_response(),
    }
}

fn object(bytes: &Bytes, method: &Method, headers: &HeaderMap) -> Response {
    let all = bytes.len();
    let range = headers.get("range").map(|range| {
        let range = range.to_str().unwrap().strip_prefix("bytes=").unwrap();
        let (from, to) = range.split_once('-').unwrap();
        match (from.parse::<usize>(), to.parse::<usize>()) {
            (Ok(from), Ok(to)) => from..all.min(to + 1),
            (Ok(from), Err(_)) => from..all,
            (Err(_), Ok(last)) => all - last.min(all)..all,
            _ => panic!("{range}"),
        }
    });
    let mut response =
        Response::builder().header("etag", "\"1\"").header("last-modified", "Sat, 14 Mar 2026 09:26:53 GMT");
    let part = match range {
        Some(range) => {
            let told = format!("bytes {}-{}/{all}", range.start, range.end - 1);
            response = response.status(StatusCode::PARTIAL_CONTENT).header("content-range", told);
            bytes.slice(range)
        }
        None => bytes.clone(),
    };
    response = response.header("content-length", part.len());
    response.body(if *method == Method::HEAD { Body::empty() } else { Body::from(part) }).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_bucket_become_answers_in_a_bucket() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    spread(&at("rows"), &rows(90), 4).await;
    let objects = Objects::default();
    for name in ["part 0", "part 1", "later/part 2", "part 3"] {
        let bytes = std::fs::read(at("rows").join(format!("{name}.parquet"))).unwrap();
        objects.lock().unwrap().insert(format!("year/{name}.parquet"), bytes.into());
    }
    objects.lock().unwrap().insert("year/readme.txt".to_owned(), Bytes::from_static(b"no rows"));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().fallback(answer).with_state(Arc::clone(&objects));
    tokio::spawn(async move { axum::serve(listener, app).await });
    let run = |from: &'static str, to: &'static str| {
        let mut command = recategorize(from, to, &[]);
        command.env("AWS_ENDPOINT", &endpoint).env("AWS_ALLOW_HTTP", "true").env("AWS_REGION", "eu-central-1");
        command.env("AWS_ACCESS_KEY_ID", "somebody").env("AWS_SECRET_ACCESS_KEY", "secret");
        command.env("NO_PROXY", "127.0.0.1");
        tokio::task::spawn_blocking(move || command.run().json())
    };

    let counted = run("s3://rows-and-answers/year", "s3://rows-and-answers/answers").await.unwrap();
    assert_eq!(counted["answered"], 90);
    recategorize(at("rows").to_str().unwrap(), at("here").to_str().unwrap(), &[]).run().json();
    for (key, bytes) in objects.lock().unwrap().iter() {
        if let Some(name) = key.strip_prefix("answers/") {
            let file = at("there").join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, bytes).unwrap();
        }
    }
    assert_eq!(answers(&at("there")).await, answers(&at("here")).await);

    let counted = run("s3://rows-and-answers/year/part [13].parquet", "s3://rows-and-answers/some").await.unwrap();
    assert_eq!(counted["files"], 2);
    let keys = objects.lock().unwrap();
    let some: Vec<&String> = keys.keys().filter(|key| key.starts_with("some/")).collect();
    assert_eq!(some, ["some/part 1.parquet", "some/part 3.parquet"]);
}
