//! One conversation with a mail server: connection, TLS, login, one message. lettre speaks the protocol; the login is done here, because it
//! knows neither CRAM-MD5 (RFC 2195) nor the identity of PLAIN (RFC 4616).

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lettre::Message;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::Ehlo;
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::response::Response;
use md5::{Digest, Md5};

use super::{FailureReason, SendError};

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(2);
/// The block of MD5 in bytes (RFC 1321).
const MD5_BLOCK: usize = 64;

/// How the connection is encrypted.
pub enum Security {
    /// From the first byte.
    Implicit(TlsParameters),
    /// After STARTTLS, without which nothing is sent.
    StartTls(TlsParameters),
    /// Not at all.
    None,
}

/// Who logs in.
pub struct Login {
    /// The name.
    pub username: String,
    /// For PLAIN and LOGIN.
    pub password: Option<String>,
    /// For CRAM-MD5.
    pub secret: Option<String>,
    /// In whose name PLAIN logs in; empty for the user's own.
    pub identity: String,
}

/// Where the message goes.
pub struct Server<'a> {
    /// Name or address.
    pub host: &'a str,
    /// Port.
    pub port: u16,
    /// Name given in EHLO.
    pub hello: &'a str,
    /// Encryption.
    pub security: Security,
    /// Login, if there is to be one.
    pub login: Option<Login>,
}

/// Connects, logs in, hands one message over and leaves. Gives what the server said to the message.
pub async fn deliver(server: Server<'_>, message: &Message) -> Result<Response, SendError> {
    let hello = ClientId::Domain(server.hello.to_owned());
    let (implicit, starttls) = match server.security {
        Security::Implicit(tls) => (Some(tls), None),
        Security::StartTls(tls) => (None, Some(tls)),
        Security::None => (None, None),
    };
    let address = (server.host, server.port);
    let connected = AsyncSmtpConnection::connect_tokio1(address, Some(CONNECT_TIMEOUT), &hello, implicit, None).await;
    let mut connection = connected.map_err(|e| smtp_error(&e))?;
    if let Some(tls) = starttls {
        // After a failed handshake there is nobody left to say goodbye to.
        connection.starttls(tls, &hello).await.map_err(|e| smtp_error(&e))?;
    }
    let said = converse(&mut connection, &hello, server.login.as_ref(), message).await;
    // Whether the message was taken is known by now, however the server says goodbye, or does not.
    let _goodbye = tokio::time::timeout(GOODBYE, connection.abort()).await;
    said
}

async fn converse(
    connection: &mut AsyncSmtpConnection,
    hello: &ClientId,
    login: Option<&Login>,
    message: &Message,
) -> Result<Response, SendError> {
    if let Some(login) = login {
        log_in(connection, hello, login).await?;
    }
    connection.send(message.envelope(), &message.formatted()).await.map_err(|e| smtp_error(&e))
}

/// Logs in by the best of the ways that the server offers and there are credentials for: CRAM-MD5 shows the secret to nobody. A server that
/// offers no login at all is one that needs none, as Alertmanager sees it.
async fn log_in(connection: &mut AsyncSmtpConnection, hello: &ClientId, login: &Login) -> Result<(), SendError> {
    // lettre keeps only the ways it knows itself, so the server is asked again.
    let said = command(connection, Ehlo::new(hello.clone())).await?;
    let offered = mechanisms(said.message());
    if offered.is_empty() {
        return Ok(());
    }
    let offers = |name: &str| offered.iter().any(|m| m == name);
    match (&login.secret, &login.password) {
        (Some(secret), _) if offers("CRAM-MD5") => {
            let asked = command(connection, "AUTH CRAM-MD5\r\n").await?;
            let challenge = challenge(&asked)?;
            let answer = format!("{} {}", login.username, hex(&hmac_md5(secret.as_bytes(), &challenge)));
            command(connection, line(answer.as_bytes())).await?;
        }
        (_, Some(password)) if offers("PLAIN") => {
            let answer = format!("{}\0{}\0{password}", login.identity, login.username);
            command(connection, format!("AUTH PLAIN {}", line(answer.as_bytes()))).await?;
        }
        (_, Some(password)) if offers("LOGIN") => {
            command(connection, "AUTH LOGIN\r\n").await?;
            command(connection, line(login.username.as_bytes())).await?;
            command(connection, line(password.as_bytes())).await?;
        }
        (secret, password) => {
            let have: Vec<&str> = [(secret.is_some(), "CRAM-MD5"), (password.is_some(), "PLAIN, LOGIN")]
                .iter()
                .filter(|(there, _)| *there)
                .map(|(_, names)| *names)
                .collect();
            let have =
                if have.is_empty() { "none (give auth_password or auth_secret)".to_owned() } else { have.join(", ") };
            let text =
                format!("no common way to log in: the mail server offers {}, configured is {have}", offered.join(", "));
            return Err(SendError::permanent(FailureReason::ClientError, text));
        }
    }
    Ok(())
}

async fn command(connection: &mut AsyncSmtpConnection, text: impl std::fmt::Display) -> Result<Response, SendError> {
    connection.command(text).await.map_err(|e| smtp_error(&e))
}

/// The ways to log in that an answer to EHLO names (RFC 4954), also in the form `AUTH=` of old servers.
fn mechanisms<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut out = Vec::new();
    for l in lines {
        let mut words = l.split([' ', '=']).filter(|w| !w.is_empty()).map(str::to_ascii_uppercase);
        if words.next().is_some_and(|w| w == "AUTH") {
            for name in words {
                if !out.contains(&name) {
                    out.push(name);
                }
            }
        }
    }
    out
}

/// What the server wants to see proved: Base64 after the code.
fn challenge(said: &Response) -> Result<Vec<u8>, SendError> {
    let text = said.first_line().unwrap_or_default().trim();
    STANDARD.decode(text).map_err(|_| {
        SendError::permanent(FailureReason::ClientError, "the mail server's challenge for CRAM-MD5 is not Base64")
    })
}

/// One line of an exchange of AUTH.
fn line(bytes: &[u8]) -> String {
    format!("{}\r\n", STANDARD.encode(bytes))
}

/// HMAC (RFC 2104) over MD5: good enough for a challenge that is used once, and what CRAM-MD5 prescribes.
fn hmac_md5(key: &[u8], text: &[u8]) -> [u8; 16] {
    let mut block = [0; MD5_BLOCK];
    let hashed;
    let key = if key.len() > MD5_BLOCK {
        hashed = Md5::digest(key);
        hashed.as_slice()
    } else {
        key
    };
    for (b, k) in block.iter_mut().zip(key) {
        *b = *k;
    }
    let inner = Md5::new().chain_update(block.map(|b| b ^ 0x36)).chain_update(text).finalize();
    Md5::new().chain_update(block.map(|b| b ^ 0x5c)).chain_update(inner).finalize().into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// What a failure of the conversation means.
fn smtp_error(e: &Error) -> SendError {
    let mut text = e.to_string();
    let mut source = std::error::Error::source(e);
    while let Some(s) = source {
        let more = s.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = s.source();
    }
    if e.is_permanent() {
        SendError::permanent(FailureReason::ClientError, text)
    } else if e.is_transient() {
        SendError::temporary(FailureReason::ServerError, text)
    } else if e.is_timeout() {
        SendError::temporary(FailureReason::Timeout, text)
    } else if e.is_tls() {
        SendError::temporary(FailureReason::Tls, text)
    } else if e.is_client() {
        // The server lacks what was asked for, such as STARTTLS.
        SendError::permanent(FailureReason::ClientError, text)
    } else {
        SendError::temporary(FailureReason::Connection, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hmac_of_the_standards() {
        for (key, text, want) in [
            // RFC 2202, test cases 1, 2 and 6.
            (vec![0x0b; 16], "Hi There", "9294727a3638bb1c13f48ef8158bfc9d"),
            (b"Jefe".to_vec(), "what do ya want for nothing?", "750c783e6ab0b503eaa86e310a5db738"),
            (
                vec![0xaa; 80],
                "Test Using Larger Than Block-Size Key - Hash Key First",
                "6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd",
            ),
            // RFC 2195, section 2.
            (
                b"tanstaaftanstaaf".to_vec(),
                "<1896.697170952@postoffice.reston.mci.net>",
                "b913a602c7eda7a495b4e6e7334d3890",
            ),
        ] {
            assert_eq!(hex(&hmac_md5(&key, text.as_bytes())), want, "{text}");
        }
    }

    #[test]
    fn what_servers_offer() {
        for (said, want) in [
            (&["mail.example", "SIZE 5", "AUTH PLAIN login CRAM-MD5", "AUTH=PLAIN LOGIN"][..], "PLAIN LOGIN CRAM-MD5"),
            (&["mail.example", "AUTHOR x"], ""),
            (&["mail.example", "auth"], ""),
        ] {
            assert_eq!(mechanisms(said.iter().copied()).join(" "), want, "{said:?}");
        }
    }
}
