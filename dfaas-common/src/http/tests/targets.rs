//! What a request's target asks for.

use super::*;

#[test]
fn root_is_exactly_a_slash() {
    check(b"GET / HTTP/1.1\r\n\r\n", |head| {
        assert_eq!(head.target, Target::Root)
    });
    check(b"GET /? HTTP/1.1\r\n\r\n", |head| {
        assert_eq!(head.target, Target::Other)
    });
}

#[test]
fn health_checks_of_go_agents_ask_for_the_root_by_another_name() {
    check(b"GET /healthz HTTP/1.0\r\n\r\n", |head| {
        assert_eq!(head.target, Target::Root)
    });
    for target in ["/h", "/health", "/healthz/", "/healthz?", "/healthzz"] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        check(request.as_bytes(), |head| {
            assert_eq!(head.target, Target::Other, "{target}")
        });
    }
}

#[test]
fn every_other_target_is_marked_as_such() {
    for target in [
        "/system/functions",
        "/function",
        "/function/",
        "/function//figlet",
        "/function/fig%6cet",
        "/function/fig;let",
        "/Function/figlet",
        "//function/figlet",
        "/functions/figlet",
        "/func",
        "http:///function/figlet",
        "http://node?/function/figlet",
        "http://node#/function/figlet",
        "http://node//function/figlet",
        "http://node/system/functions",
        "http:/function/figlet",
        "https://node/function/figlet",
        "h",
        "http://",
        "*",
        "/x/function/figlet",
        "function/figlet",
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        check(request.as_bytes(), |head| {
            assert_eq!(head.target, Target::Other, "{target}")
        });
    }
}

#[test]
fn a_target_may_name_the_node() {
    for node in ["http://node", "HTTP://10.0.0.1:80", "http://user@[fd00::1]:8080"] {
        for method in ["GET", "HEAD", "POST"] {
            let request = format!("{method} {node}/function/figlet/a?b HTTP/1.1\r\nHost: a\r\n\r\n");
            check(request.as_bytes(), |head| {
                let Target::Function(name) = head.target else {
                    panic!("{request}: {:?}", head.target);
                };
                let name = &request.as_bytes()[usize::from(name.start)..][..usize::from(name.length)];
                assert_eq!((name, head.wants_no_body), (&b"figlet"[..], method == "HEAD"));
            });
        }
        for path in ["", "/"] {
            let request = format!("GET {node}{path} HTTP/1.1\r\nHost: a\r\n\r\n");
            check(request.as_bytes(), |head| assert_eq!(head.target, Target::Root));
        }
    }
}
