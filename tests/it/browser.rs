//! A browser without scripts: cookies, redirects, links and forms.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};

use scraper::{ElementRef, Html, Selector};
use url::Url;

use crate::support::{STATUS_PASSWORD, TestApp, basic};

const FORM: &str = "application/x-www-form-urlencoded";
/// More redirects than any journey has.
const REDIRECTS: usize = 20;

/// Keeps cookies as browsers do: by host, whatever the port.
///
/// Each comes from an address of its own, as a reverse proxy on this machine would report it.
pub(crate) struct Browser {
    agent: ureq::Agent,
    address: Ipv4Addr,
    cookies: RefCell<BTreeMap<String, String>>,
}

impl TestApp {
    /// A page of the status listener, with its password.
    pub(crate) fn status_page(&self, path: &str) -> Page {
        let url = format!("{}{path}", self.status);
        Browser::new().get_with(&url, &[("authorization", &basic(STATUS_PASSWORD))])
    }
}

/// What a request carries.
#[derive(Default)]
struct Payload<'a> {
    content_type: &'a str,
    body: &'a str,
    headers: &'a [(&'a str, &'a str)],
}

/// What came back in the end.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) url: Url,
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: String,
}

impl Browser {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(1);
        let config = ureq::Agent::config_builder()
            .max_redirects(0)
            .http_status_as_error(false)
            .timeout_global(Some(std::time::Duration::from_mins(1)))
            .build();
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        Self {
            agent: config.into(),
            address: Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 0, 0, 0)) + number),
            cookies: RefCell::default(),
        }
    }

    pub(crate) fn get(&self, url: &str) -> Page {
        self.follow(self.send("GET", url, &Payload::default()))
    }

    /// One request, no redirect followed.
    pub(crate) fn get_once(&self, url: &str) -> Page {
        self.send("GET", url, &Payload::default())
    }

    pub(crate) fn get_with(&self, url: &str, headers: &[(&str, &str)]) -> Page {
        let payload = Payload {
            headers,
            ..Payload::default()
        };
        self.send("GET", url, &payload)
    }

    pub(crate) fn post_once(&self, url: &str, fields: &[(&str, &str)]) -> Page {
        self.post_with(url, fields, &[])
    }

    pub(crate) fn post_with(
        &self,
        url: &str,
        fields: &[(&str, &str)],
        headers: &[(&str, &str)],
    ) -> Page {
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        self.post_text(url, FORM, &body, headers)
    }

    pub(crate) fn post_json(
        &self,
        url: &str,
        body: &serde_json::Value,
        headers: &[(&str, &str)],
    ) -> Page {
        self.post_text(url, "application/json", &body.to_string(), headers)
    }

    pub(crate) fn post_text(
        &self,
        url: &str,
        content_type: &str,
        body: &str,
        headers: &[(&str, &str)],
    ) -> Page {
        let payload = Payload {
            content_type,
            body,
            headers,
        };
        self.send("POST", url, &payload)
    }

    pub(crate) fn cookies(&self) -> BTreeMap<String, String> {
        self.cookies.borrow().clone()
    }

    /// Puts back the cookies of another time.
    pub(crate) fn use_cookies(&self, cookies: BTreeMap<String, String>) {
        self.cookies.replace(cookies);
    }

    fn follow(&self, mut page: Page) -> Page {
        for _ in 0..REDIRECTS {
            let Some(location) = page.location() else {
                return page;
            };
            page = self.send("GET", location.as_str(), &Payload::default());
        }
        panic!("too many redirects, the last to {}", page.url);
    }

    fn send(&self, method: &str, url: &str, payload: &Payload<'_>) -> Page {
        let mut request = http::Request::builder().method(method).uri(url);
        request = request.header("x-forwarded-for", self.address.to_string());
        let jar = self.cookies();
        if !jar.is_empty() {
            let pairs: Vec<String> = jar
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            request = request.header("cookie", pairs.join("; "));
        }
        if !payload.content_type.is_empty() {
            request = request.header("content-type", payload.content_type);
        }
        for (name, value) in payload.headers {
            request = request.header(*name, *value);
        }
        let answer = self
            .agent
            .run(request.body(payload.body.to_owned()).unwrap());
        let mut answer = answer.unwrap_or_else(|error| panic!("{method} {url}: {error}"));
        self.keep_cookies(answer.headers());
        Page {
            url: Url::parse(url).unwrap(),
            status: answer.status().as_u16(),
            headers: answer.headers().clone(),
            body: answer.body_mut().read_to_string().unwrap(),
        }
    }

    fn keep_cookies(&self, headers: &http::HeaderMap) {
        for header in headers.get_all("set-cookie") {
            let text = header.to_str().unwrap();
            let (pair, attributes) = text.split_once(';').unwrap_or((text, ""));
            let (name, value) = pair.split_once('=').unwrap();
            let mut jar = self.cookies.borrow_mut();
            if attributes.to_lowercase().contains("max-age=0") {
                jar.remove(name);
            } else {
                jar.insert(name.to_owned(), value.to_owned());
            }
        }
    }
}

impl Page {
    /// Where a redirect leads, as a browser reads it; fragments are kept.
    pub(crate) fn location(&self) -> Option<Url> {
        let location = self
            .headers
            .get("location")
            .filter(|_| (300..400).contains(&self.status))?;
        Some(self.url.join(location.to_str().unwrap()).unwrap())
    }

    /// The text of the element that `selector` finds.
    pub(crate) fn text(&self, selector: &str) -> String {
        let document = Html::parse_document(&self.body);
        let element = self.find(&document, selector);
        element.text().collect::<String>().trim().to_owned()
    }

    pub(crate) fn has(&self, selector: &str) -> bool {
        let document = Html::parse_document(&self.body);
        document
            .select(&Selector::parse(selector).unwrap())
            .next()
            .is_some()
    }

    pub(crate) fn attribute(&self, selector: &str, name: &str) -> String {
        let document = Html::parse_document(&self.body);
        let value = self.find(&document, selector).value().attr(name);
        value
            .unwrap_or_else(|| panic!("no {name} on {selector} in {}", self.url))
            .to_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {} of {}", self.body, self.url))
    }

    /// What the page says, without the frame around it.
    pub(crate) fn says(&self, text: &str) -> bool {
        self.text("main").contains(text)
    }

    /// Follows the link that `selector` finds.
    pub(crate) fn click(&self, browser: &Browser, selector: &str) -> Page {
        let href = self.attribute(selector, "href");
        browser.get(self.url.join(&href).unwrap().as_str())
    }

    /// The form in which `selector` finds something, as it stands.
    pub(crate) fn form(&self, selector: &str) -> Form {
        let document = Html::parse_document(&self.body);
        let inside = self.find(&document, selector);
        let form = std::iter::once(*inside)
            .chain(inside.ancestors())
            .filter_map(ElementRef::wrap)
            .find(|element| element.value().name() == "form")
            .unwrap_or_else(|| panic!("{selector} is in no form in {}", self.url));
        let action = form.value().attr("action").unwrap_or("");
        let method = form.value().attr("method").unwrap_or("get");
        let mut fields = Vec::new();
        for input in form.select(&Selector::parse("input, select, textarea").unwrap()) {
            let input = input.value();
            let Some(name) = input.attr("name") else {
                continue;
            };
            let toggled = matches!(input.attr("type"), Some("checkbox" | "radio"));
            if !toggled || input.attr("checked").is_some() {
                fields.push(FieldValue {
                    id: input.attr("id").unwrap_or_default().to_owned(),
                    name: name.to_owned(),
                    value: input.attr("value").unwrap_or_default().to_owned(),
                });
            }
        }
        if let ("button", Some(name)) = (inside.value().name(), inside.value().attr("name")) {
            fields.push(FieldValue {
                id: String::new(),
                name: name.to_owned(),
                value: inside.value().attr("value").unwrap_or_default().to_owned(),
            });
        }
        Form {
            action: self.url.join(action).unwrap(),
            is_get: method.eq_ignore_ascii_case("get"),
            fields,
        }
    }

    fn find<'a>(&self, document: &'a Html, selector: &str) -> ElementRef<'a> {
        let found = document.select(&Selector::parse(selector).unwrap()).next();
        found.unwrap_or_else(|| {
            panic!(
                "no {selector} in {} ({})\n{}",
                self.url, self.status, self.body
            )
        })
    }
}

/// A form that is being filled in.
pub(crate) struct Form {
    pub(crate) action: Url,
    is_get: bool,
    fields: Vec<FieldValue>,
}

struct FieldValue {
    id: String,
    name: String,
    value: String,
}

impl Form {
    /// Names and values, for a request that is made by hand.
    pub(crate) fn fields(&self) -> Vec<(&str, &str)> {
        let fields = self.fields.iter();
        fields
            .map(|field| (field.name.as_str(), field.value.as_str()))
            .collect()
    }

    /// Fills the field with this id or name.
    pub(crate) fn fill(mut self, field: &str, value: &str) -> Self {
        let found = self
            .fields
            .iter_mut()
            .find(|known| known.id == field || known.name == field);
        let found =
            found.unwrap_or_else(|| panic!("no field {field} in the form for {}", self.action));
        value.clone_into(&mut found.value);
        self
    }

    pub(crate) fn submit(&self, browser: &Browser) -> Page {
        browser.follow(self.submit_once(browser))
    }

    pub(crate) fn submit_once(&self, browser: &Browser) -> Page {
        let pairs = self.pairs();
        if self.is_get {
            let mut url = self.action.clone();
            url.query_pairs_mut().clear().extend_pairs(pairs);
            return browser.get_once(url.as_str());
        }
        browser.post_once(self.action.as_str(), &pairs)
    }

    /// What the form sends.
    pub(crate) fn pairs(&self) -> Vec<(&str, &str)> {
        let fields = self.fields.iter();
        fields
            .map(|field| (field.name.as_str(), field.value.as_str()))
            .collect()
    }
}
