//! The rules of the codec: each reason for which a message ends here.

use http::StatusCode;

macro_rules! rules {
    ($($(#[$doc:meta])* $rule:ident = $name:literal, $text:literal;)*) => {
        /// A rule that a message broke. Its name is in the problem document, so that whoever sent the message can find out why.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
        pub enum Rule {
            $($(#[$doc])* $rule,)*
        }

        impl Rule {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$rule,)*];

            /// The name in problem documents and in the docs.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$rule => $name,)* }
            }

            /// What is wrong, for whoever sent it.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$rule => $text,)* }
            }
        }
    };
}

rules! {
    /// Lines end in CR LF. A line feed alone ends a line for some servers and not for others.
    BareLineFeed = "bare-line-feed", "a line ends in a line feed without a carriage return";
    /// A carriage return stands before a line feed and nowhere else.
    BareCarriageReturn = "bare-carriage-return", "a carriage return stands alone";
    /// At most one empty line stands before a request.
    LeadingLines = "leading-lines", "several empty lines stand before the request";
    /// Method, target, version, with one space between each two.
    RequestLine = "request-line", "the request line is not a method, a target and a version with one space between each two";
    /// HTTP/1.0 or HTTP/1.1.
    Version = "version", "the version is neither HTTP/1.0 nor HTTP/1.1";
    /// A path, an absolute URL of this scheme, or `*` for OPTIONS; visible ASCII, without a fragment.
    Target = "target", "the target is no path and no http URL";
    /// This is not a forward proxy.
    Connect = "connect", "this is not a forward proxy";
    /// The request line fits into the limit of the head.
    TargetLength = "target-length", "the request line is longer than the limit";
    /// The head fits into `limits.head`.
    HeadLength = "head-length", "the head is longer than the limit";
    /// As many header lines as `limits.headers` at most.
    HeaderCount = "header-count", "the head has more lines than the limit";
    /// A name is a token right before its colon, and no line is folded.
    HeaderName = "header-name", "a header line has no name right before a colon";
    /// A value has no control characters.
    HeaderValue = "header-value", "a header's value has control characters";
    /// The whole head comes within `limits.head_timeout`.
    HeadTimeout = "head-timeout", "the head did not arrive in time";
    /// A length is digits, and a number that 63 bits hold.
    ContentLength = "content-length", "the Content-Length is not a number";
    /// The length is said once.
    ContentLengthRepeated = "content-length-repeated", "several Content-Length headers";
    /// A length, or a coding: not both.
    LengthAndCoding = "length-and-coding", "Transfer-Encoding together with Content-Length";
    /// `chunked`, alone and once.
    TransferEncoding = "transfer-encoding", "a Transfer-Encoding other than chunked, once";
    /// HTTP/1.0 has no codings.
    CodingInHttp10 = "coding-in-http-1.0", "a Transfer-Encoding in HTTP/1.0";
    /// No body of unknown length where none is expected: GET and HEAD.
    ChunkedWithoutUse = "chunked-without-use", "a chunked body where none is expected";
    /// `100-continue`, or nothing.
    Expectation = "expectation", "an expectation other than 100-continue";
    /// A chunk's size is 1 to 16 hexadecimal digits.
    ChunkSize = "chunk-size", "the size of a chunk is not 1 to 16 hexadecimal digits";
    /// An extension of a chunk is short, and visible ASCII.
    ChunkExtension = "chunk-extension", "the extension of a chunk is too long, or not visible ASCII";
    /// A chunk ends in CR LF right after its bytes.
    ChunkEnd = "chunk-end", "a chunk does not end in CR LF after its bytes";
    /// Trailers are header lines, few and short.
    Trailer = "trailer", "the trailers are no header lines, or too many";
}

impl Rule {
    /// The answer's status.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::TargetLength => StatusCode::URI_TOO_LONG,
            Self::HeadLength | Self::HeaderCount => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::HeadTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::Expectation => StatusCode::EXPECTATION_FAILED,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// Whether two servers could see the end of such a message at two places.
    #[must_use]
    pub const fn is_framing(self) -> bool {
        matches!(
            self,
            Self::BareLineFeed
                | Self::BareCarriageReturn
                | Self::ContentLength
                | Self::ContentLengthRepeated
                | Self::LengthAndCoding
                | Self::TransferEncoding
                | Self::CodingInHttp10
                | Self::ChunkedWithoutUse
                | Self::ChunkSize
                | Self::ChunkExtension
                | Self::ChunkEnd
                | Self::Trailer
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = Rule::ALL.iter().map(|rule| rule.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Rule::ALL.len());
    }
}
