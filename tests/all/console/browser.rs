//! Headless Chromium, driven by its `WebDriver`.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::prelude::*;

use crate::support::repository::root;
use crate::support::{http_client, packages};

/// How long a condition of a page may take to become true.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long to wait before the next look at it.
const PAUSE: Duration = Duration::from_millis(50);
/// How often the driver is started until it has a port.
const STARTS: usize = 5;

/// A browser with a profile of its own.
pub struct Browser {
    pub driver: WebDriver,
    service: Child,
    _profile: TempDir,
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver does not end its browser when it ends. The browser is in its process group.
        let group = Pid::from_raw(i32::try_from(self.service.id()).expect("a pid"));
        let _ = killpg(group, Signal::SIGKILL);
        let _ = self.service.wait();
    }
}

/// How a page is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    Light,
    Dark,
    Phone,
    DarkPhone,
}

impl Look {
    pub const ALL: [Self; 4] = [Self::Light, Self::Dark, Self::Phone, Self::DarkPhone];

    pub fn name(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Dark => "dark",
            Self::Phone => "phone",
            Self::DarkPhone => "dark-phone",
        }
    }
}

fn program(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let places = names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    places.into_iter().find(|place| place.is_file())
}

impl Browser {
    /// None, with a line on standard error: Chromium or its driver is not installed, and the test does not run.
    pub async fn start() -> Option<Self> {
        let (Some(chromium), Some(driver)) = (
            program(&["chromium", "chromium-browser", "google-chrome"]),
            program(&["chromedriver"]),
        ) else {
            packages::skip(
                "it needs Chromium and its driver (Debian: apt-get install chromium chromium-driver)",
            );
            return None;
        };
        let profile = tempfile::tempdir().expect("a folder");
        let (service, port) = (0..STARTS)
            .find_map(|_| start_driver(&driver))
            .expect("chromedriver prints its port");
        let mut caps = DesiredCapabilities::chrome();
        caps.set_binary(&chromium.to_string_lossy()).expect("a path");
        let folder = format!("--user-data-dir={}", profile.path().display());
        for argument in [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            "--window-size=1280,900",
            &folder,
        ] {
            caps.add_arg(argument).expect("an argument");
        }
        // It installs the provider of TLS, which any client needs.
        drop(http_client());
        let driver = WebDriver::new(format!("http://127.0.0.1:{port}"), caps)
            .await
            .expect("a session");
        Some(Self {
            driver,
            service,
            _profile: profile,
        })
    }

    pub async fn cdp(&self, command: &str, params: Value) -> Value {
        let sent = self.driver.cdp().send_raw(command, params).await;
        sent.unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    pub async fn look(&self, look: Look) {
        let is_dark = matches!(look, Look::Dark | Look::DarkPhone);
        let scheme = if is_dark { "dark" } else { "light" };
        self.cdp(
            "Emulation.setEmulatedMedia",
            json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]}),
        )
        .await;
        let (width, height, mobile) = if matches!(look, Look::Phone | Look::DarkPhone) {
            (390, 844, true)
        } else {
            (1280, 900, false)
        };
        self.cdp(
            "Emulation.setDeviceMetricsOverride",
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}),
        )
        .await;
    }

    pub async fn scripts(&self, on: bool) {
        self.cdp("Emulation.setScriptExecutionDisabled", json!({"value": !on}))
            .await;
    }

    pub async fn open(&self, url: &str) {
        self.driver
            .goto(url)
            .await
            .unwrap_or_else(|error| panic!("{url}: {error}"));
    }

    /// Keeps a picture of the whole page in `target/console-screenshots`.
    pub async fn shoot(&self, name: &str) {
        let folder = root().join("target/console-screenshots");
        std::fs::create_dir_all(&folder).expect("a folder");
        self.picture(&folder.join(format!("{name}.png")), true).await;
    }

    /// Updates a picture of the documentation: what the window shows. Only if `TENURE_TEST_UPDATE_PICTURES` is set.
    pub async fn document(&self, name: &str) {
        if std::env::var_os("TENURE_TEST_UPDATE_PICTURES").is_some() {
            let file = root().join("docs/pictures").join(format!("{name}.png"));
            self.picture(&file, false).await;
        }
    }

    async fn picture(&self, file: &Path, whole: bool) {
        let options = json!({"captureBeyondViewport": whole, "format": "png"});
        let shot = self.cdp("Page.captureScreenshot", options).await;
        let bytes = decode_base64(shot["data"].as_str().expect("a picture"));
        std::fs::write(file, bytes).expect("a file");
    }

    /// The text of the first element that matches. Waits for it: a page may be loading.
    ///
    /// After a click it can be that of the page before, if that has such an element: see [`Browser::expect`].
    pub async fn text(&self, css: &str) -> String {
        self.retried(css, async || self.try_text(css).await).await
    }

    async fn try_text(&self, css: &str) -> WebDriverResult<String> {
        self.driver.find(By::Css(css)).await?.text().await
    }

    /// Waits until the text of the first element that matches contains this.
    pub async fn expect(&self, css: &str, text: &str) -> String {
        let waiting = async {
            loop {
                if let Ok(shown) = self.try_text(css).await
                    && shown.contains(text)
                {
                    return shown;
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        if let Ok(shown) = tokio::time::timeout(PATIENCE, waiting).await {
            return shown;
        }
        let (url, shown) = (self.url().await, self.try_text(css).await);
        panic!("no `{text}` in {css} of {url}: {shown:?}");
    }

    /// Waits until the address of the page contains this.
    pub async fn expect_url(&self, text: &str) {
        let waiting = async {
            while !self.url().await.contains(text) {
                tokio::time::sleep(PAUSE).await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, waiting).await.is_ok();
        assert!(in_time, "no `{text}` in {}", self.url().await);
    }

    /// Tries until it succeeds: what it needs may not be there before the page is loaded.
    async fn retried<T>(&self, what: &str, attempt: impl AsyncFn() -> WebDriverResult<T>) -> T {
        let start = Instant::now();
        loop {
            match attempt().await {
                Ok(done) => return done,
                Err(error) => assert!(start.elapsed() < PATIENCE, "{what}: {error}"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    pub async fn count(&self, css: &str) -> usize {
        self.driver.find_all(By::Css(css)).await.expect("elements").len()
    }

    pub async fn click(&self, css: &str) {
        self.retried(css, async || self.driver.find(By::Css(css)).await?.click().await)
            .await;
    }

    pub async fn click_text(&self, tag: &str, text: &str) {
        let path = format!("//{tag}[contains(normalize-space(.), \"{text}\")]");
        self.retried(&path, async || {
            self.driver.find(By::XPath(path.as_str())).await?.click().await
        })
        .await;
    }

    /// Clicks the first link or button that has this text.
    pub async fn press_text(&self, text: &str) {
        let path = format!("//*[self::a or self::button][contains(normalize-space(.), \"{text}\")]");
        self.retried(&path, async || {
            self.driver.find(By::XPath(path.as_str())).await?.click().await
        })
        .await;
    }

    /// Clicks the first button within an element that has this text.
    pub async fn click_in(&self, css: &str, text: &str) {
        let path = format!(".//button[contains(normalize-space(.), \"{text}\")]");
        self.retried(&path, async || {
            let within = self.driver.find(By::Css(css)).await?;
            within.find(By::XPath(path.as_str())).await?.click().await
        })
        .await;
    }

    pub async fn fill(&self, css: &str, text: &str) {
        self.retried(css, async || {
            let field = self.driver.find(By::Css(css)).await?;
            field.clear().await?;
            field.send_keys(text).await
        })
        .await;
    }

    /// Presses keys where the focus is.
    pub async fn type_here(&self, keys: &str) {
        let element = self.driver.active_element().await.expect("a focus");
        element.send_keys(keys).await.expect("pressed");
    }

    pub async fn press(&self, keys: &str) {
        let body = self.driver.find(By::Css("body")).await.expect("a body");
        body.send_keys(keys).await.expect("pressed");
    }

    pub async fn evaluate(&self, script: &str) -> Value {
        let result = self.driver.execute(script, Vec::new()).await;
        result
            .unwrap_or_else(|error| panic!("{script}: {error}"))
            .json()
            .clone()
    }

    pub async fn url(&self) -> String {
        self.driver.current_url().await.expect("a URL").to_string()
    }

    /// Waits until the page is loaded and a script returns true.
    pub async fn wait_until(&self, what: &str, script: &str) {
        let script = format!("return document.readyState === 'complete' && (() => {{ {script} }})()");
        let waiting = async {
            while self.evaluate(&script).await != Value::Bool(true) {
                tokio::time::sleep(PAUSE).await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, waiting).await.is_ok();
        assert!(in_time, "timed out: {what}: {}", self.text("body").await);
    }

    /// What axe-core finds by all its rules: a line for each rule that is broken, with the first elements.
    pub async fn axe(&self, source: &str) -> Vec<String> {
        self.evaluate(source).await;
        let run = "const done = arguments[arguments.length - 1]; \
             axe.run(document, {resultTypes: ['violations']}).then(result => done(result.violations.map(one => one.id + ': ' + one.help + ' ' + one.nodes.slice(0, 3)\
             .map(node => node.target + ' ' + node.failureSummary).join(' | '))), error => done([String(error)]));";
        let found = self
            .driver
            .execute_async(run, Vec::new())
            .await
            .expect("axe runs");
        found.convert::<Vec<String>>().expect("lines")
    }
}

/// None: it did not start, because another program took the port that it chose.
fn start_driver(driver: &Path) -> Option<(Child, u16)> {
    let mut service = Command::new(driver)
        .args(["--port=0"])
        .process_group(0)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("chromedriver can be started");
    let port = port_of(&mut service);
    if port.is_none() {
        let _ = service.kill();
        let _ = service.wait();
    }
    port.map(|port| (service, port))
}

/// Waits for the line that names the port.
fn port_of(service: &mut Child) -> Option<u16> {
    let mut lines = BufReader::new(service.stdout.take().expect("a pipe")).lines();
    let port = lines.by_ref().map_while(Result::ok).find_map(|line| {
        line.split("successfully on port ")
            .nth(1)?
            .trim_end_matches('.')
            .parse()
            .ok()
    });
    // The pipe must not fill up.
    std::thread::spawn(move || lines.for_each(drop));
    port
}

fn decode_base64(text: &str) -> Vec<u8> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b'=').map(value).collect();
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    for group in digits.chunks(4) {
        let number = group
            .iter()
            .fold(0_u32, |number, digit| (number << 6) | u32::from(*digit))
            << (6 * (4 - group.len()));
        bytes.extend_from_slice(&number.to_be_bytes()[1..group.len()]);
    }
    bytes
}
