#!/usr/bin/env bash
# http 1.3.1 (crates.io; hyper, axum and reqwest read request targets with it): `"`, `<` and `>` in a query are refused, `{ } | ^ \` and
# bytes beyond ASCII are taken. None of them may stand there (RFC 3986, 3.4). curl sends all of them raw, so a JSON value in a
# query works until it has a quote; a hyper server answers that 400 without a body and without calling the application.
source "$(dirname "$0")/lib.sh"
crate http 1.3.1 <<'RS'
fn main() {
    let taken = |text: &[u8]| http::Uri::try_from([b"/a?b=", text].concat()).is_ok();
    let of = |wanted| -> String { "\"<>{}|^\\`".chars().filter(|c| taken(c.to_string().as_bytes()) == wanted).collect() };
    println!("taken {} refused {} raw UTF-8 {}", of(true), of(false), taken("é".as_bytes()));
}
RS
same "characters of a query" 'taken {}|^\` refused "<> raw UTF-8 true' "$("$program")"
