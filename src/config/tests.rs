//! What may be set, from where, and what the operator is told when it is wrong.

use std::fs;
use std::path::Path;

use proptest::prelude::proptest;

use super::keys::{KEYS, Need};
use super::{Config, Environment, LogFormat, Problems, Security};

const REFERENCE: &str = include_str!("../../packaging/tollhouse.toml");

/// The reference file with its secrets written in: all that is required.
fn complete() -> String {
    let secrets = ["delegation_keys", "password", "secret_key", "client_secret"];
    secrets.iter().fold(REFERENCE.to_owned(), |text, name| {
        // The first of a name: [mail] has a password too, which goes with its other settings.
        text.replacen(&format!("\n#{name} = "), &format!("\n{name} = "), 1)
    })
}

/// The reference file with its secrets and a mail server, with all that can be set.
fn complete_with_mail() -> String {
    let (before, mail) = REFERENCE.split_once("\n[mail]\n").unwrap();
    let (mail, after) = mail.split_once("\n[log]\n").unwrap();
    let mail = mail.lines().map(|line| {
        let setting = line.strip_prefix('#').filter(|rest| !rest.starts_with(' '));
        setting.unwrap_or(line)
    });
    let mail: Vec<_> = mail.collect();
    let mail = mail.join("\n").replace(
        "/etc/tollhouse/mail-authority.pem",
        concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/src/sandbox/mail/localhost.pem"
        ),
    );
    let secrets = ["delegation_keys", "password", "secret_key", "client_secret"];
    let before = secrets.iter().fold(before.to_owned(), |text, name| {
        text.replace(&format!("\n#{name} = "), &format!("\n{name} = "))
    });
    format!("{before}\n[mail]\n{mail}\n[log]\n{after}")
}

fn environment(variables: &[(&str, &str)]) -> Environment {
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Environment {
        variables: variables.iter().map(pair).collect(),
    }
}

fn load_text(text: &str, variables: &[(&str, &str)]) -> Result<Config, Problems> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tollhouse.toml");
    fs::write(&path, text).unwrap();
    Config::load(Some(&path), &environment(variables))
}

/// The reference file with one line put in place of another.
fn changed(from: &str, to: &str) -> String {
    let text = complete();
    assert!(text.contains(from), "{from}");
    text.replacen(from, to, 1)
}

/// `setting: what; fix` of each problem of the reference file with one line put in place of another.
fn problems_of(from: &str, to: &str) -> Vec<String> {
    let problems = load_text(&changed(from, to), &[]).unwrap_err();
    let one = |problem: &super::Problem| {
        format!("{}: {}; {}", problem.setting, problem.what, problem.fix)
    };
    problems.iter().map(one).collect()
}

fn check(from: &str, to: &str, expected: &str) {
    assert_eq!(problems_of(from, to), [expected]);
}

#[test]
fn the_reference_file_loads_and_its_comments_are_the_defaults() {
    let config = load_text(&complete(), &[]).unwrap();
    let uncommented: Vec<_> = REFERENCE
        .lines()
        .map(|line| {
            line.strip_prefix('#')
                .filter(|rest| !rest.starts_with(' '))
                .unwrap_or(line)
        })
        .filter(|line| {
            let examples = [
                "legal_url",
                "gateway_url",
                "workspace_id",
                "cross_check = ",
                "webhook_secrets",
                "host",
                "port",
                "username",
                "password = \"example\"",
                "from",
                "root_certificates",
            ];
            !examples.iter().any(|name| line.starts_with(name))
        })
        .collect();
    let uncommented = uncommented.join("\n");
    assert_ne!(uncommented, REFERENCE);
    assert_eq!(
        load_text(&uncommented, &[]).unwrap().print(),
        config.print()
    );
    assert_eq!(config.portal.session_hours, 12);
    assert_eq!(config.log.format, LogFormat::Text);
}

#[test]
fn the_reference_file_names_every_setting_with_its_default_variable_and_credential() {
    for key in KEYS {
        let (section, name) = key.parts();
        let start = REFERENCE.find(&format!("\n[{section}]")).unwrap();
        let text = &REFERENCE[start + 2..];
        let text = &text[..text.find("\n[").unwrap_or(text.len())];
        let line = match key.need {
            Need::Required if key.credential.is_none() => format!("\n{name} = "),
            Need::Required | Need::Optional | Need::Default(_) => format!("\n#{name} = "),
        };
        let found = text
            .find(&line)
            .unwrap_or_else(|| panic!("{} is not explained", key.full_name));
        if let Need::Default(default) = key.need {
            let value = text[found + line.len()..].lines().next().unwrap();
            assert_eq!(value.trim_matches('"'), default, "{}", key.full_name);
        }
        assert!(text.contains(&key.variable()), "{}", key.full_name);
        if let Some(credential) = key.credential {
            let places = format!("{}, {name}_file, credential {credential}", key.variable());
            assert!(text.contains(&places), "{places}");
        }
    }
}

#[test]
fn the_reference_file_as_shipped_lacks_the_secrets_and_nothing_else() {
    let problems = load_text(REFERENCE, &[]).unwrap_err();
    let missing: Vec<_> = problems
        .iter()
        .map(|problem| problem.setting.as_str())
        .collect();
    let secrets: Vec<_> = KEYS
        .iter()
        .filter(|key| key.need == Need::Required && key.credential.is_some())
        .map(|key| key.full_name)
        .collect();
    assert_eq!(missing, secrets);
}

#[test]
fn without_any_configuration_everything_missing_is_listed_and_the_demo_named() {
    let problems = Config::load(None, &Environment::default()).unwrap_err();
    let missing: Vec<_> = problems
        .iter()
        .map(|problem| problem.setting.as_str())
        .collect();
    let required: Vec<_> = KEYS
        .iter()
        .filter(|key| key.need == Need::Required)
        .map(|key| key.full_name)
        .collect();
    assert_eq!(missing, required);
    let text = problems.to_string();
    assert!(
        text.starts_with("the configuration cannot be used: 11 problems\n"),
        "{text}"
    );
    assert!(
        text.contains(
            "\n  stripe.secret_key: is missing: Stripe's secret or restricted API key, sk_… or rk_…\
             \n      write secret_key in [stripe] of the file, or TOLLHOUSE_STRIPE__SECRET_KEY, \
             or the systemd credential stripe_secret_key"
        ),
        "{text}"
    );
    assert!(
        text.ends_with("To see Tollhouse at work without any: tollhouse demo"),
        "{text}"
    );
}

#[test]
fn the_environment_goes_over_the_file_and_credentials_over_both() {
    let credentials = tempfile::tempdir().unwrap();
    fs::write(
        credentials.path().join("stripe_secret_key"),
        "sk_test_credential\n",
    )
    .unwrap();
    fs::write(credentials.path().join("tls.pem"), "not ours").unwrap();
    let config = load_text(
        &complete(),
        &[
            ("TOLLHOUSE_STRIPE__SECRET_KEY", "sk_test_variable"),
            ("TOLLHOUSE_STRIPE__ATTEMPTS", "5"),
            ("TOLLHOUSE_STRIPE__WEBHOOK_SECRETS", "whsec_1, whsec_2"),
            (
                "CREDENTIALS_DIRECTORY",
                credentials.path().to_str().unwrap(),
            ),
            ("PATH", "/bin"),
        ],
    )
    .unwrap();
    assert_eq!(config.stripe.secret_key.expose(), "sk_test_credential");
    assert_eq!(config.stripe.attempts, 5);
    assert_eq!(config.stripe.webhook_secrets.len(), 2);
}

#[test]
fn a_secret_can_stand_in_a_file_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("password");
    fs::write(&path, "correct horse battery\n").unwrap();
    let to = format!("password_file = {path:?}");
    let config = load_text(
        &changed("password = \"twelve characters or more\"", &to),
        &[],
    )
    .unwrap();
    assert_eq!(config.status.password.expose(), "correct horse battery");

    let both = format!("{to}\npassword = \"twelve characters or more\"");
    let problems = problems_of("password = \"twelve characters or more\"", &both);
    assert_eq!(problems.len(), 1);
    assert!(problems[0].contains("is given twice"), "{problems:?}");

    let problems = problems_of(
        "password = \"twelve characters or more\"",
        "password_file = \"/nowhere\"",
    );
    assert!(
        problems[0].starts_with("status.password_file: cannot read /nowhere"),
        "{problems:?}"
    );
}

#[test]
fn the_variable_tollhouse_config_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.toml");
    fs::write(&path, complete()).unwrap();
    let variables = [("TOLLHOUSE_CONFIG", path.to_str().unwrap())];
    assert!(Config::load(None, &environment(&variables)).is_ok());
    let gone = Config::load(Some(Path::new("/nowhere.toml")), &Environment::default());
    let problems = gone.unwrap_err().to_string();
    assert!(
        problems.contains("the file (/nowhere.toml): No such file"),
        "{problems}"
    );
}

#[test]
fn unknown_names_are_refused_with_the_one_that_was_meant() {
    check(
        "#attempts = 3",
        "atempts = 3",
        "stripe.atempts: is not a setting; did you mean stripe.attempts?",
    );
    check(
        "#settle_hours = 12",
        "[metring]\nreread_days = 3",
        "metring.reread_days: is not a setting; did you mean metering.reread_days?",
    );
    check(
        "[portal]\n",
        "verbose = true\n[portal]\n",
        "verbose: stands outside of a section; remove it; packaging/tollhouse.toml names every setting",
    );
    let problems = load_text(&complete(), &[("TOLLHOUSE_STRIPE_SECRET_KEY", "x")]).unwrap_err();
    let problem = problems.iter().next().unwrap();
    assert_eq!(problem.fix, "did you mean TOLLHOUSE_STRIPE__SECRET_KEY?");

    let credentials = tempfile::tempdir().unwrap();
    fs::write(credentials.path().join("stripe_secretkey"), "x").unwrap();
    let directory = credentials.path().to_str().unwrap();
    let problems = load_text(&complete(), &[("CREDENTIALS_DIRECTORY", directory)]).unwrap_err();
    assert_eq!(
        problems.iter().next().unwrap().fix,
        "did you mean stripe_secret_key?"
    );
}

#[test]
fn a_value_that_cannot_be_read_never_becomes_the_default() {
    for (to, expected) in [
        ("attempts = 0", "is \"0\""),
        ("attempts = 2.5", "is \"2.5\""),
        ("attempts = -1", "is \"-1\""),
        ("attempts = \"three\"", "is \"three\""),
        ("attempts = 99999999999", "is \"99999999999\""),
    ] {
        let expected = format!("stripe.attempts: {expected}; write a whole number, 1 to 10");
        check("#attempts = 3", to, &expected);
    }
    check(
        "#attempts = 3",
        "attempts = [3]",
        "stripe.attempts: is array; write one value, or a list of texts",
    );
    check(
        "#attempts = 3",
        "attempts = [\"3\"]",
        "stripe.attempts: is a list; write one value",
    );
    check(
        "#daily_at = \"00:30\"",
        "daily_at = \"25:00\"",
        "metering.daily_at: is \"25:00\"; write hours and minutes of UTC, \"00:30\"",
    );
    check(
        "#listen = \"127.0.0.1:8080\"",
        "listen = \"localhost:8080\"",
        "portal.listen: is \"localhost:8080\"; write an IP address and a port, 127.0.0.1:8080 or [::1]:8080",
    );
    check(
        "#format = \"text\"",
        "format = \"xml\"",
        "log.format: is \"xml\"; write \"text\" or \"json\"",
    );
    check(
        "#api_version = \"2024-05-01\"",
        "api_version = \"latest\"",
        "apim.api_version: is \"latest\"; write a version such as 2024-05-01",
    );
    check(
        "resource_group = \"contoso-apis\"",
        "resource_group = \"../other\"",
        "apim.resource_group: is \"../other\"; write it as the Azure portal shows it, without slashes or spaces",
    );
    assert!(
        load_text(
            &changed("#filter = \"info\"", "filter = \"tollhouse=loud\""),
            &[]
        )
        .is_err()
    );
}

#[test]
fn text_that_is_not_toml_is_named_with_its_lines() {
    let problems = load_text("[portal\nlisten = \n", &[]).unwrap_err();
    let of_file: Vec<_> = problems
        .iter()
        .filter(|problem| problem.setting == "the file")
        .collect();
    assert!(!of_file.is_empty());
    assert!(
        of_file[0]
            .source
            .as_ref()
            .unwrap()
            .to_string()
            .starts_with("line 1 of ")
    );
}

#[test]
fn addresses_are_https_or_on_this_machine() {
    for (url, expected) in [
        (
            "http://billing.example.com",
            "\"http://billing.example.com\" is neither https nor on this machine; write https://…: keys and passwords travel over it",
        ),
        (
            "https://billing.example.com/pay",
            "\"https://billing.example.com/pay\" has a path; write only https://billing.example.com",
        ),
        (
            "billing.example.com",
            "is \"billing.example.com\": relative URL without a base; write the whole address, https://…",
        ),
        (
            "ftp://billing.example.com",
            "is \"ftp://billing.example.com\"; write the whole address, https://…",
        ),
        (
            "https://u:p@billing.example.com",
            "has more than scheme, host, port and path; write it without user, ? and #",
        ),
    ] {
        let to = format!("public_url = {url:?}");
        check(
            "public_url = \"https://billing.example.com\"",
            &to,
            &format!("portal.public_url: {expected}"),
        );
    }
    for (url, kept) in [
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
        ("http://localhost:1", "http://localhost:1"),
        ("http://[::1]:1", "http://[::1]:1"),
        (
            "https://Billing.Example.com:443/",
            "https://billing.example.com",
        ),
    ] {
        let to = format!("public_url = {url:?}");
        let config = load_text(
            &changed("public_url = \"https://billing.example.com\"", &to),
            &[],
        );
        assert_eq!(config.unwrap().portal.public_url, kept);
    }
}

#[test]
fn secrets_are_checked_and_never_shown() {
    const KEY: &str = "secret_key = \"sk_test_example\"";
    const DELEGATION: &str = "delegation_keys = [\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\"]";
    const WHOLE: &str = "copy the whole validation key from the service's Delegation page";
    const COPY: &str = "copy the key that begins with sk_ or rk_ from Developers, API keys";
    check(
        KEY,
        "secret_key = \"pk_live_SECRET\"",
        &format!("stripe.secret_key: is a publishable key; {COPY}"),
    );
    check(
        KEY,
        "secret_key = \"SECRET\"",
        &format!("stripe.secret_key: is no Stripe API key; {COPY}"),
    );
    check(
        KEY,
        "secret_key = \"sk_\"",
        &format!("stripe.secret_key: is no Stripe API key; {COPY}"),
    );
    check(
        "password = \"twelve characters or more\"",
        "password = \"SECRET\"",
        "status.password: is too short; write 12 characters or more: it opens every subscription's page",
    );
    check(
        DELEGATION,
        "delegation_keys = [\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\", \"SECRET!\"]",
        &format!("portal.delegation_keys: number 2 is not base64; {WHOLE}"),
    );
}

#[test]
fn settings_that_do_not_go_together_are_refused() {
    check(
        "#listen = \"127.0.0.1:8081\"",
        "listen = \"0.0.0.0:8081\"",
        "status.listen: 0.0.0.0:8081 can be reached from other machines; \
         listen on 127.0.0.1, or write allow_remote = true in [status]",
    );
    let allowed = changed(
        "#listen = \"127.0.0.1:8081\"",
        "listen = \"0.0.0.0:8081\"\nallow_remote = true",
    );
    assert!(load_text(&allowed, &[]).is_ok());
    check(
        "#listen = \"127.0.0.1:8081\"",
        "listen = \"127.0.0.1:8080\"",
        "status.listen: 127.0.0.1:8080 has the port of portal.listen, 127.0.0.1:8080; \
         give the two listeners different ports: they have different readers",
    );
    check(
        "#sign_in = \"here\"",
        "sign_in = \"developer-portal\"",
        "portal.sign_in: is \"developer-portal\" and no mail server is known; write host in [mail]: \
         people see and change what they have only by a link that is sent to them; or write \"here\"",
    );
    check(
        "#sign_in = \"here\"",
        "sign_in = \"there\"",
        "portal.sign_in: is \"there\"; write \"here\" or \"developer-portal\"",
    );
    let with_mail =
        complete_with_mail().replace("#sign_in = \"here\"", "sign_in = \"developer-portal\"");
    assert!(load_text(&with_mail, &[]).is_ok());
    check(
        "#settle_hours = 12",
        "settle_hours = 48",
        "metering.settle_hours: 48 hours are not before metering.backstop_hours, 48; \
         settle first: else invoices are finalized before their usage is complete",
    );
    let plain = changed(
        "#api_base = \"https://api.stripe.com\"",
        "api_base = \"http://127.0.0.1:9\"",
    );
    assert!(load_text(&plain, &[]).is_ok());
    let live = [("TOLLHOUSE_STRIPE__SECRET_KEY", "rk_live_x")];
    let problems = load_text(&plain, &live).unwrap_err();
    assert_eq!(
        problems.iter().next().unwrap().what,
        "is plain HTTP and the key is a live one"
    );
}

#[test]
fn mail_is_sent_over_a_server_that_is_described_whole() {
    let config = load_text(&complete_with_mail(), &[]).unwrap();
    let mail = config.mail.unwrap();
    assert_eq!((mail.host.as_str(), mail.port), ("smtp.example.com", 587));
    assert_eq!(mail.security, Security::StartTls);
    assert!(load_text(&complete(), &[]).unwrap().mail.is_none());
    let check = |from: &str, to: &str, expected: &str| {
        let text = complete_with_mail();
        assert!(text.contains(from), "{from}");
        let problems = load_text(&text.replace(from, to), &[]).unwrap_err();
        let found: Vec<_> = problems.iter().map(|problem| &problem.setting).collect();
        assert_eq!(found, [expected], "{problems}");
    };
    check(
        "host = \"smtp.example.com\"",
        "host = \"smtp:25\"",
        "mail.host",
    );
    check(
        "security = \"starttls\"",
        "security = \"none\"",
        "mail.security",
    );
    check("username = ", "#username = ", "mail.password");
    check("password = \"example\"", "", "mail.username");
    check(
        "from = \"Contoso APIs <",
        "from = \"Contoso APIs ",
        "mail.from",
    );
    check("from = \"Contoso", "#from = \"Contoso", "mail.from");
    check(
        "localhost.pem",
        "localhost-key.pem",
        "mail.root_certificates",
    );
    check("port = 587", "port = 0", "mail.port");
    let alone = changed("#from = \"Contoso", "from = \"Contoso");
    let problems = load_text(&alone, &[]).unwrap_err();
    assert_eq!(problems.iter().count(), 1, "{problems}");
}

#[test]
fn log_analytics_as_the_source_needs_its_workspace() {
    let text = complete().replace("#source = \"reports\"", "source = \"log-analytics\"");
    let problems = load_text(&text, &[]).unwrap_err().to_string();
    assert!(
        problems.contains("workspace_id in [log_analytics]"),
        "{problems}"
    );
    let text = text.replace("#workspace_id", "workspace_id");
    let config = load_text(&text, &[]).unwrap();
    assert_eq!(config.metering.source.word(), "log-analytics");
}

#[test]
fn print_is_a_file_with_every_setting_and_no_secret() {
    let text = complete_with_mail()
        .replace("#legal_url", "legal_url")
        .replace("#gateway_url", "gateway_url")
        .replace("#workspace_id", "workspace_id")
        .replace("#cross_check =", "cross_check =")
        .replace("#webhook_secrets", "webhook_secrets");
    let printed = load_text(&text, &[]).unwrap().print();
    let table: toml::Table = printed.parse().unwrap();
    for key in KEYS {
        let (section, name) = key.parts();
        let value = table[section]
            .get(name)
            .unwrap_or_else(|| panic!("{} in\n{printed}", key.full_name));
        let hidden = format!("{value:?}").contains("***");
        assert_eq!(hidden, key.credential.is_some(), "{}", key.full_name);
    }
    for secret in ["sk_test", "twelve", "AAEC", "whsec_"] {
        assert!(!printed.contains(secret), "{printed}");
    }
}

proptest! {
    #[test]
    fn no_file_makes_it_panic_or_fail_without_a_problem(
        text in "(\\[(portal|stripe|é)\\]\n|(listen|attempts|x) = (\"é\"|[0-9.]{1,3}|\\[[12,]*\\]|\\{\\}|\\PC{0,4})\n){0,8}",
    ) {
        let problems = load_text(&text, &[]).unwrap_err();
        assert!(problems.iter().count() > 0);
    }
}
