//! The page at `/`: chat, models, and a live view of the machine. Three files, built into the program.

use super::answer::{Answer, content};
use axum::http::{HeaderValue, StatusCode, header};

pub(super) fn html() -> Answer {
    part("text/html; charset=utf-8", include_str!("page/page.html"))
}

pub(super) fn script() -> Answer {
    part("text/javascript; charset=utf-8", include_str!("page/page.js"))
}

pub(super) fn style() -> Answer {
    part("text/css; charset=utf-8", include_str!("page/page.css"))
}

fn part(kind: &'static str, text: &'static str) -> Answer {
    let mut answer = content(StatusCode::OK, kind, text);
    let headers = answer.headers_mut();
    for (name, value) in [
        // what a model writes can run nothing and fetch nothing
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; script-src 'self'; style-src 'self'; \
            connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}
