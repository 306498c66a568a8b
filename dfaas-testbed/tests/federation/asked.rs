//! A request whose answer is known beforehand.

use dfaas_testbed::{Response, Wire};

use crate::front_ends::{CAT, FrontEnd};

/// What an echo says to who says nothing.
const GREETING: &str = "echo\n";

/// What kind of request, and of answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Get,
    /// Its body comes back.
    Post,
    /// As a post, but the client asks first whether to send its body. The echo answers at once instead.
    Expect,
    /// As before, of a function that reads the whole body first.
    ExpectRead,
    /// Its answer tells the length of a body that does not come.
    Head,
    /// Its answer comes in chunks.
    Chunked,
    /// Its answer can have no body.
    NoContent,
    /// Its answer tells of a body that the client has.
    NotModified,
    /// Its answer is an error of the function, which is nobody else's affair.
    Failed,
}

impl Kind {
    pub(crate) const ALL: [Self; 9] = [
        Self::Get,
        Self::Post,
        Self::Expect,
        Self::ExpectRead,
        Self::Head,
        Self::Chunked,
        Self::NoContent,
        Self::NotModified,
        Self::Failed,
    ];

    pub(crate) fn method(self) -> &'static str {
        match self {
            Self::Post | Self::Expect | Self::ExpectRead => "POST",
            Self::Head => "HEAD",
            Self::Get | Self::Chunked | Self::NoContent | Self::NotModified | Self::Failed => "GET",
        }
    }

    fn status(self) -> u16 {
        match self {
            Self::NoContent => 204,
            Self::NotModified => 304,
            Self::Failed => 500,
            Self::Get | Self::Post | Self::Expect | Self::ExpectRead | Self::Head | Self::Chunked => 200,
        }
    }
}

/// A request whose answer is known beforehand.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) kind: Kind,
    pub(crate) body: Vec<u8>,
    function: &'static str,
    served_by: &'static str,
    number: usize,
}

impl Asked {
    /// The `number`-th request, which differs from its neighbours.
    pub(crate) fn new(
        kind: Kind,
        (function, served_by): (&'static str, &'static str),
        number: usize,
    ) -> Self {
        let body = match kind {
            Kind::Post | Kind::Expect | Kind::ExpectRead => text(number, 20 + number % 700),
            Kind::Get | Kind::Head | Kind::Chunked | Kind::NoContent | Kind::NotModified | Kind::Failed => {
                Vec::new()
            }
        };
        Self {
            kind,
            body,
            function,
            served_by,
            number,
        }
    }

    /// How many bytes the answer is asked to have.
    fn answer_bytes(&self) -> usize {
        1 + self.number * 37 % 3000
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let query = match self.kind {
            Kind::Get | Kind::Post | Kind::Expect | Kind::ExpectRead => String::new(),
            Kind::Head => format!("?size={}", self.answer_bytes()),
            Kind::Chunked => format!("?chunked={}", self.answer_bytes()),
            Kind::NoContent | Kind::NotModified | Kind::Failed => format!("?status={}", self.kind.status()),
        };
        let expect = match self.kind {
            Kind::Expect | Kind::ExpectRead => "Expect: 100-continue\r\n",
            Kind::Get
            | Kind::Post
            | Kind::Head
            | Kind::Chunked
            | Kind::NoContent
            | Kind::NotModified
            | Kind::Failed => "",
        };
        let length = match self.kind.method() {
            "POST" => format!("Content-Length: {}\r\n", self.body.len()),
            _ => String::new(),
        };
        let suffix = if self.kind == Kind::ExpectRead { CAT } else { "" };
        let (method, function) = (self.kind.method(), self.function.to_owned() + suffix);
        let head = format!(
            "{method} /function/{function}{query} HTTP/1.1\r\nHost: functions\r\n{length}{expect}X-Call-Id: {}\r\n\r\n",
            self.number
        );
        [head.as_bytes(), &self.body].concat()
    }

    /// Asks, and expects the answer.
    #[track_caller]
    pub(crate) fn ask(&self, front_end: &FrontEnd, wire: &mut Wire) {
        let response = wire.ask(&self.bytes(), self.kind.method());
        let response = response
            .unwrap_or_else(|error| panic!("{}: {:?} {}: {error:#}", front_end.name, self.kind, self.number));
        self.check(front_end, &response);
    }

    #[track_caller]
    pub(crate) fn check(&self, front_end: &FrontEnd, response: &Response) {
        let told = (
            response.status,
            response.served_by(),
            response.header("x-call-id"),
            response.is_last,
        );
        let number = self.number.to_string();
        let want = (self.kind.status(), Some(self.served_by), Some(&number[..]), false);
        let Self { kind, function, .. } = self;
        assert_eq!(
            told, want,
            "{}: {kind:?} {number} to {function}: {response:?}",
            front_end.name
        );
        let is_right = match self.kind {
            Kind::Get => response.body == GREETING.as_bytes(),
            Kind::Post | Kind::Expect | Kind::ExpectRead if self.body.is_empty() => {
                response.body == GREETING.as_bytes()
            }
            Kind::Post | Kind::Expect | Kind::ExpectRead => response.body == self.body,
            Kind::Chunked => response.body.len() == self.answer_bytes(),
            Kind::Head => response.header("content-length") == Some(&self.answer_bytes().to_string()),
            Kind::NoContent | Kind::NotModified | Kind::Failed => response.body.is_empty(),
        };
        assert!(
            is_right,
            "{}: {kind:?} {number} to {function}: {response:?}",
            front_end.name
        );
    }
}

/// Text of this length, of which no two places look alike, nor two texts.
pub(crate) fn text(number: usize, length: usize) -> Vec<u8> {
    (0..=length / 12)
        .flat_map(|at| format!("{number:05}:{at:06}").into_bytes())
        .take(length)
        .collect()
}
