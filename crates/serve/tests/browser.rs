//! The chat page in a real headless browser. Without `chromedriver` (Debian: `apt-get install chromium-driver`) it is
//! skipped, and says so.

mod common;
#[path = "common/webdriver.rs"]
mod webdriver;

use common::{CONTEXT, Running, start_with};
use serde_json::{Value, json};
use serve::feedback::{Prompt, Store, Verdict, pairs};
use webdriver::Browser;

const ENTER: &str = "\u{E007}";

/// A browser that shows the page of a server with models listed.
fn page(context: usize, change: impl FnOnce(&mut serve::Config)) -> Option<(Browser, Running)> {
    let Some(browser) = Browser::start() else {
        eprintln!(
            "skipped: chromedriver is not installed (Debian: apt-get install chromium-driver)"
        );
        return None;
    };
    let server = start_with(context, change);
    browser.open(&server.url("/"));
    Some((browser, server))
}

/// Waits for the models, and has the page ask for answers of this length: one of random weights does not know when to
/// stop.
fn ready(browser: &Browser, tokens: usize) {
    browser.find("#send:not(:disabled)");
    let limited = "{ ...JSON.parse(options.body), ignore_eos: true, max_tokens: TOKENS, seed: 3 }";
    browser.script(
        &"const dial = document.getElementById('temperature');
          dial.value = '1.5';
          dial.dispatchEvent(new Event('input'));
          const real = window.fetch;
          window.fetch = (path, options) => real(path, path.includes('chat')
              ? { ...options, body: JSON.stringify(LIMITED) } : options);"
            .replace("LIMITED", limited)
            .replace("TOKENS", &tokens.to_string()),
    );
}

/// Asks, waits for the whole answer, and returns it.
fn ask(browser: &Browser, question: &str) -> String {
    let before = browser.all(".turn.assistant .under").len();
    browser
        .find("#question")
        .type_in(&format!("{question}{ENTER}"));
    browser.until("an answer", || {
        (browser.all(".turn.assistant .under").len() > before).then_some(())
    });
    let answer = browser.script(
        "return [...document.querySelectorAll('.turn.assistant .text')].at(-1).textContent",
    );
    answer.as_str().expect("a text").to_owned()
}

#[test]
fn a_reader_asks_rates_and_corrects() {
    let Some((browser, server)) = page(CONTEXT, |_| {}) else {
        return;
    };
    ready(&browser, 24);
    browser.picture("empty");
    let question = "What does the <b>regulator</b> cost?";
    let first = ask(&browser, "Is the reef open?");
    let answer = ask(&browser, question);
    assert!(!first.is_empty() && !answer.is_empty());
    let turns: Vec<String> = browser
        .all(".turn.user .text")
        .iter()
        .map(|turn| turn.text())
        .collect();
    assert_eq!(
        turns,
        ["Is the reef open?", question],
        "markup is shown, not obeyed"
    );
    browser.picture("answer");

    browser.all(".turn.assistant .thumb[aria-label='Good answer']")[0].click();
    browser.find(".thumb[aria-label='Good answer'][aria-pressed='true']");
    browser.all(".turn.assistant .thumb[aria-label='Bad answer']")[1].click();
    let box_ = browser.find(".correction textarea");
    assert_eq!(
        box_.property("value"),
        answer.as_str(),
        "the answer is there to be corrected"
    );
    browser.picture("correction");
    box_.clear();
    box_.type_in("Ninety euros.");
    browser.find(".correction button[type=submit]").click();
    browser.until("the thanks", || {
        let states = browser.all(".turn.assistant .state");
        states
            .iter()
            .any(|state| state.text().contains("correction kept"))
            .then_some(())
    });
    assert!(browser.all(".correction").is_empty());
    browser.picture("rated");

    let store = Store::open(&server.feedback_path()).expect("the store");
    let rated = store.rated().expect("ratings");
    let verdicts: Vec<_> = rated.iter().map(|(_, rating)| rating.rating).collect();
    assert_eq!(verdicts, [Verdict::Up, Verdict::Down]);
    let pairs = pairs(&store).expect("pairs");
    assert_eq!(
        (pairs.len(), pairs[0].chosen.as_str()),
        (1, "Ninety euros.")
    );
    let Prompt::Messages(prompt) = &pairs[0].prompt else {
        panic!("a conversation")
    };
    let roles: Vec<&str> = prompt.iter().map(|message| message.role.as_str()).collect();
    assert_eq!(
        roles,
        ["user", "assistant", "user"],
        "the whole conversation is the prompt"
    );
    assert_eq!(
        browser.console(),
        json!([]),
        "the page breaks none of its own rules"
    );
}

#[test]
fn what_a_model_or_a_person_says_is_never_markup() {
    let Some((browser, server)) = page(CONTEXT, |_| {}) else {
        return;
    };
    ready(&browser, 24);
    let attack =
        "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>";
    // The server's answer is replaced on its way, so that it surely holds markup.
    let event =
        json!({"id": "chatcmpl-x", "choices": [{"index": 0, "delta": {"content": attack}}]});
    let body = serde_json::to_string(&format!("data: {event}\n\ndata: [DONE]\n\n")).expect("JSON");
    browser.script(&format!("window.fetch = async () => new Response({body})"));
    assert_eq!(ask(&browser, attack), attack);
    assert_eq!(
        browser.find(".turn.user .text").property("textContent"),
        attack
    );
    assert_eq!(browser.script("return document.title"), "Ontogeny");
    assert!(
        browser
            .all("#conversation img, #conversation script")
            .is_empty()
    );
    drop(server);
}

#[test]
fn settings_reach_the_model_and_a_new_chat_forgets() {
    let Some((browser, server)) = page(CONTEXT, |_| {}) else {
        return;
    };
    ready(&browser, 24);
    browser.find(".settings summary").click();
    browser.find("#system").type_in("Be brief.");
    browser.script(
        "const t = document.getElementById('temperature'); t.value = '0.7'; t.dispatchEvent(new Event('input'))",
    );
    assert_eq!(browser.find("#temperature-value").text(), "0.7");
    ask(&browser, "One");
    browser.find("#new").click();
    assert!(browser.all(".turn").is_empty());
    ask(&browser, "Two");
    browser.find(".thumb[aria-label='Good answer']").click();
    browser.find(".thumb[aria-pressed='true']");
    let store = Store::open(&server.feedback_path()).expect("the store");
    let (answer, _) = store.rated().expect("ratings").remove(0);
    let Some(Prompt::Messages(prompt)) = answer.prompt else {
        panic!("a conversation")
    };
    let said: Vec<_> = prompt
        .iter()
        .map(|message| (message.role.as_str(), message.content.as_str()))
        .collect();
    assert_eq!(said, [("system", "Be brief."), ("user", "Two")]);
    assert!((answer.sampling["temperature"].as_f64().expect("a number") - 0.7).abs() < 1e-6);
}

#[test]
fn an_answer_can_be_stopped_and_an_error_is_told() {
    let Some((browser, _server)) = page(4096, |_| {}) else {
        return;
    };
    ready(&browser, 3900);
    // The page's own eyes are quicker than the driver's: it presses the button at the first text.
    browser.script(
        "const conversation = document.getElementById('conversation');
         new MutationObserver((_, observer) => {
             if (!conversation.querySelector('.assistant .text')?.textContent) return;
             observer.disconnect();
             document.getElementById('stop').click();
         }).observe(conversation, { childList: true, subtree: true, characterData: true });",
    );
    browser.find("#question").type_in(&format!("Go on{ENTER}"));
    browser.find("#send:not([hidden])");
    assert_eq!(browser.find(".facts").text(), "stopped");
    let kept = browser.find(".turn.assistant .text").text();
    assert!(
        kept.len() < 4000,
        "{} bytes of an answer that was stopped at its first",
        kept.len()
    );
    browser.find("#question").type_in("reef ");
    browser.script("document.getElementById('question').value = 'reef '.repeat(9000)");
    browser.find("#send").click();
    let failed = browser.find(".turn.assistant.failed .text").text();
    assert!(
        failed.contains("maximum context length is 4096 tokens"),
        "{failed}"
    );
}

#[test]
fn a_server_with_keys_asks_for_one() {
    let keys = tempfile::tempdir().expect("a folder");
    let path = keys.path().join("keys");
    std::fs::write(&path, "open-sesame\n").expect("a key file");
    let Some((browser, _server)) = page(CONTEXT, |config| config.api_keys = Some(path)) else {
        return;
    };
    browser
        .find("#key-box:not([hidden]) #key")
        .type_in("open-sesame");
    browser.find("#key-box button").click();
    ready(&browser, 24);
    assert!(!ask(&browser, "Hello").is_empty());
}

#[test]
fn the_page_fits_a_phone_and_every_control_has_a_name() {
    let Some((browser, _server)) = page(CONTEXT, |_| {}) else {
        return;
    };
    ready(&browser, 24);
    let scheme =
        |name: &str| json!({"features": [{"name": "prefers-color-scheme", "value": name}]});
    let phone = json!({"width": 360, "height": 700, "deviceScaleFactor": 2, "mobile": true});
    browser.devtools("Emulation.setDeviceMetricsOverride", phone);
    ask(
        &browser,
        "A question that is long enough to be broken into several lines on a narrow screen, is it not?",
    );
    let wide = browser.script("return document.documentElement.scrollWidth");
    assert_eq!(wide, 360, "nothing has to be scrolled sideways");
    browser.picture("phone_light");
    let mut backgrounds = Vec::<Value>::new();
    for name in ["light", "dark"] {
        browser.devtools("Emulation.setEmulatedMedia", scheme(name));
        backgrounds.push(browser.script("return getComputedStyle(document.body).backgroundColor"));
    }
    assert_ne!(backgrounds[0], backgrounds[1]);
    browser.picture("phone_dark");
    browser.find(".settings summary").click();
    let controls = browser
        .all(":is(header, main, #composer) :is(button, select, textarea, input):not([hidden])");
    assert!(controls.len() >= 8);
    for control in controls {
        assert!(
            !control.spoken().is_empty(),
            "{:?}",
            control.attribute("id")
        );
    }
    browser.picture("phone_settings");
}
