//! Texts from standard input.

use super::failure::Failure;
use std::io::{self, IsTerminal, Read};

/// No context holds a text that is longer, in bytes.
const LIMIT: u64 = 256 << 20;

/// The prompt: the argument, or standard input where the argument is `-` or missing in a pipe.
pub(crate) fn prompt(argument: Option<String>) -> Result<String, Failure> {
    let text = match argument {
        Some(text) if text != "-" => text,
        None if io::stdin().is_terminal() => {
            return Err(Failure::usage(
                "there is no prompt: give it as an argument, as in `inferno run \"Once upon a time\"`, or pipe it in",
            ));
        }
        _ => {
            let mut text = stdin()?;
            // echo and editors end a text with one line end that is not meant
            if text.ends_with('\n') {
                text.pop();
                if text.ends_with('\r') {
                    text.pop();
                }
            }
            text
        }
    };
    if text.is_empty() {
        return Err(Failure::usage("the prompt is empty: give the model something to go on"));
    }
    Ok(text)
}

/// Standard input to its end, as it is.
pub(crate) fn stdin() -> Result<String, Failure> {
    let mut bytes = vec![];
    io::stdin()
        .lock()
        .take(LIMIT + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| Failure::runtime(format!("cannot read standard input: {e}")))?;
    if bytes.len() as u64 > LIMIT {
        return Err(Failure::usage(format!(
            "the text on standard input is longer than {} MiB, which no context holds",
            LIMIT >> 20
        )));
    }
    utf8(bytes, 0)
}

/// Bytes of standard input as text; `offset` is where they begin.
pub(crate) fn utf8(bytes: Vec<u8>, offset: usize) -> Result<String, Failure> {
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let byte = error.as_bytes()[at];
        let at = offset + at;
        Failure::usage(format!(
            "standard input is not valid UTF-8: byte {at} (0x{byte:02x}, counted from 0) begins no character; convert the \
             text, for example with iconv"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_wrong_byte_is_named() {
        assert_eq!(utf8("ü".into(), 0).unwrap(), "ü");
        let message = utf8(vec![b'a', 0xc3, 0xbc, 0xff, b'b'], 10).unwrap_err().message();
        assert!(message.contains("byte 13 (0xff"), "{message}");
    }

    #[test]
    fn an_argument_is_taken_as_it_is() {
        assert_eq!(prompt(Some("hi\n".into())).unwrap(), "hi\n");
        assert!(prompt(Some(String::new())).unwrap_err().message().contains("empty"));
    }
}
