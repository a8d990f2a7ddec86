//! The configuration with which the product is run against the sandbox: the text of its file.
//!
//! Text, because the sandbox knows nothing of the product but what its documentation says.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::{Sandbox, apim, mail, stripe};

/// Where the product is to listen and to keep its data.
#[derive(Debug, Clone)]
pub struct Product {
    pub portal_listen: SocketAddr,
    pub status_listen: SocketAddr,
    pub status_password: String,
    /// Whether the developer portal keeps its own sign-in, and sends people for subscriptions only.
    pub portal_signs_in: bool,
    pub store: PathBuf,
    pub catalogue: PathBuf,
}

/// The TOML file.
pub fn text(sandbox: &Sandbox, product: &Product) -> String {
    let addresses = sandbox.addresses();
    format!(
        r#"# Written for a trial against the sandbox.

[portal]
listen = "{portal_listen}"
public_url = "http://{portal_listen}"
developer_portal_url = "{developer_portal}"
sign_in = "{sign_in}"
delegation_keys = ["{delegation_key}"]

[status]
listen = "{status_listen}"
password = "{status_password}"

[stripe]
api_base = "{stripe}"
secret_key = "{stripe_key}"

[apim]
arm_url = "{azure}"
authority_url = "{azure}"
tenant_id = "{tenant}"
client_id = "{client}"
client_secret = "{client_secret}"
subscription_id = "{subscription}"
resource_group = "{group}"
service_name = "{service}"

[mail]
host = "127.0.0.1"
port = {mail_port}
security = "none"
username = "{mail_user}"
password = "{mail_password}"
from = "Tollhouse demo <billing@sandbox.localhost>"

[log_analytics]
workspace_id = "{workspace}"
query_url = "{azure}"

[metering]
source = "reports"

[store]
path = {store}

[catalogue]
path = {catalogue}
"#,
        portal_listen = product.portal_listen,
        developer_portal = addresses.portal,
        sign_in = if product.portal_signs_in {
            "developer-portal"
        } else {
            "here"
        },
        delegation_key = sandbox.azure.delegation().validation_key,
        status_listen = product.status_listen,
        status_password = product.status_password,
        stripe = addresses.stripe,
        stripe_key = stripe::SECRET_KEY,
        azure = addresses.azure,
        tenant = apim::TENANT_ID,
        client = apim::CLIENT_ID,
        client_secret = apim::CLIENT_SECRET,
        subscription = apim::SUBSCRIPTION_ID,
        group = apim::RESOURCE_GROUP,
        service = apim::SERVICE_NAME,
        mail_port = addresses.ports().mail,
        mail_user = mail::USER_NAME,
        mail_password = mail::PASSWORD,
        workspace = apim::WORKSPACE_ID,
        store = quoted(&product.store),
        catalogue = quoted(&product.catalogue),
    )
}

/// A path as a TOML string. JSON's escapes are TOML's too.
fn quoted(path: &Path) -> String {
    serde_json::Value::from(path.display().to_string()).to_string()
}
