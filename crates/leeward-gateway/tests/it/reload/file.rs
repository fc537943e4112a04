//! The file read again: when it is another one, and when an operator asks.

use std::path::{Path, PathBuf};

use leeward_gateway::Config;
use leeward_gateway::health::State;
use leeward_gateway::reload::Source;
use leeward_runtime::Env;

use crate::rig::{Answer, Rig, Upstream};

struct Filed {
    rig: Rig,
    upstream: Upstream,
    folder: tempfile::TempDir,
}

fn text(upstream: &Upstream, more: &str, path: &str) -> String {
    format!(
        "listen: 127.0.0.1:0\ncores: 2\nadmin: {{listen: \"127.0.0.1:0\"{more}}}\nroutes: [{{path: {path}, service: \"{}\"}}]\n",
        upstream.url()
    )
}

impl Filed {
    /// With the file where `settle` puts it in the folder, while `watched` is looked at.
    async fn start(more: &str, settle: impl FnOnce(&Path), watched: &str) -> Self {
        let (upstream, folder) = (Upstream::start().await, tempfile::tempdir().unwrap());
        std::fs::write(folder.path().join("token"), "first-token").unwrap();
        let path = folder.path().join("leeward.yaml");
        std::fs::write(&path, text(&upstream, more, "/first")).unwrap();
        settle(folder.path());
        let read = move || Ok(Config::load(&path, &Env::default())?);
        let source = Source::new(folder.path().join(watched), read);
        let config = source.read().unwrap();
        let rig = Rig::started(config, |builder| builder.source(source)).await;
        Self { rig, upstream, folder }
    }

    async fn watched() -> Self {
        Self::start("", |_| {}, "leeward.yaml").await
    }

    /// The file is read only when an operator asks, however slow the test is.
    async fn not_watched(more: &str) -> Self {
        Self::start(more, |_| {}, "nothing").await
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("leeward.yaml")
    }

    fn write(&self, more: &str, path: &str) {
        std::fs::write(self.file(), text(&self.upstream, more, path)).unwrap();
    }

    async fn until_served(&self, path: &str) {
        self.rig.until(path, async || self.rig.get(path).await.status == 200).await;
    }

    async fn ask(&self, token: &str) -> Answer {
        let request = self.rig.admin("POST", "/v1/reload").header("authorization", format!("Bearer {token}"));
        self.rig.send(request, "").await
    }
}

#[tokio::test]
async fn a_file_that_is_written_renamed_or_removed_and_made_again_is_taken() {
    let filed = Filed::watched().await;
    filed.until_served("/first").await;
    filed.write("", "/second");
    filed.until_served("/second").await;
    assert_eq!(filed.rig.get("/first").await.status, 404);
    let beside = filed.folder.path().join("leeward.yaml.new");
    std::fs::write(&beside, text(&filed.upstream, "", "/third")).unwrap();
    std::fs::rename(&beside, filed.file()).unwrap();
    filed.until_served("/third").await;
    std::fs::remove_file(filed.file()).unwrap();
    let check = || filed.rig.gateway.health().checks["configuration"].clone();
    filed.rig.until("it is missed", async || check().status == State::Degraded).await;
    assert!(check().value.contains("cannot be read"), "{:?}", check());
    filed.write("", "/fourth");
    filed.until_served("/fourth").await;
    filed.rig.until("it is there", async || check().status == State::Up).await;
}

/// As Kubernetes keeps a `ConfigMap`: a link to a link to a folder, of which the middle one is turned.
#[tokio::test]
async fn a_link_that_is_turned_somewhere_up_the_path_is_a_change() {
    let linked = |folder: &Path| {
        std::fs::create_dir(folder.join("v1")).unwrap();
        std::fs::rename(folder.join("leeward.yaml"), folder.join("v1/leeward.yaml")).unwrap();
        std::os::unix::fs::symlink("v1", folder.join("data")).unwrap();
        std::os::unix::fs::symlink("data/leeward.yaml", folder.join("leeward.yaml")).unwrap();
    };
    let filed = Filed::start("", linked, "leeward.yaml").await;
    filed.until_served("/first").await;
    let folder = filed.folder.path();
    std::fs::create_dir(folder.join("v2")).unwrap();
    std::fs::write(folder.join("v2/leeward.yaml"), text(&filed.upstream, "", "/turned")).unwrap();
    std::os::unix::fs::symlink("v2", folder.join("data.new")).unwrap();
    std::fs::rename(folder.join("data.new"), folder.join("data")).unwrap();
    filed.until_served("/turned").await;
}

#[tokio::test]
async fn a_bad_file_changes_nothing_and_shows() {
    let filed = Filed::watched().await;
    let hash = || filed.rig.gateway.health().config.hash;
    let good = hash();
    filed.write(", tokken: 1", "no-slash");
    let check = || filed.rig.gateway.health().checks["configuration"].clone();
    filed.rig.until("it shows", async || check().status == State::Degraded).await;
    let shown = check().value;
    assert!(shown.starts_with("the file on disk is not the one in force: "), "{shown}");
    assert!(
        shown.contains("leeward.yaml:3:") && shown.contains("token") && shown.contains("no-slash"),
        "{shown}"
    );
    assert_eq!((filed.rig.get("/first").await.status, hash()), (200, good.clone()));
    let public = filed.rig.get("/health").await;
    assert_eq!((public.status, public.json()["checks"]["configuration"].as_str()), (200, Some("degraded")));
    assert!(!String::from_utf8_lossy(&public.body).contains("tokken"), "the public sees states: {public:?}");
    let metrics = filed.rig.metrics().await;
    assert!(metrics.contains("leeward_gateway_config_refused 1"), "{metrics}");
    assert!(
        metrics.contains("leeward_gateway_reloads_total{cause=\"file\",result=\"refused\"} 1"),
        "{metrics}"
    );

    filed.write("", "/second");
    filed.until_served("/second").await;
    filed.rig.until("it is well", async || check().status == State::Up).await;
    assert_ne!(hash(), good);
    let metrics = filed.rig.metrics().await;
    assert!(metrics.contains("leeward_gateway_config_refused 0"), "{metrics}");
    let short = hash()[..12].to_owned();
    let number = u64::from_str_radix(&short, 16).unwrap();
    assert!(metrics.contains(&format!("leeward_gateway_config_hash {number}")), "{metrics}");
    assert!(metrics.contains("leeward_gateway_config_epoch 2"), "{metrics}");
    assert_eq!(filed.rig.get("/health").await.json()["config"], *short);
}

#[tokio::test]
async fn an_operator_hears_what_changed_or_all_that_is_wrong() {
    let filed = Filed::not_watched(", token: \"file:token\"").await;
    filed.write(", token: \"file:token\"", "/second");
    assert_eq!(filed.ask("a-guess").await.status, 401);
    assert_eq!(filed.rig.get("/second").await.status, 404);
    let said = filed.ask("first-token").await;
    assert_eq!((said.status, said.json()["routes"]["added"].clone()), (200, serde_json::json!(["/second"])));
    assert_eq!(filed.rig.get("/second").await.status, 200);

    filed.write(", tokken: 1", "no-slash");
    let said = filed.ask("first-token").await;
    assert_eq!((said.status, said.code().as_str()), (422, "config_invalid"));
    let mistakes = said.json()["mistakes"].clone();
    let options: Vec<_> =
        mistakes.as_array().unwrap().iter().map(|it| it["option"].as_str().unwrap()).collect();
    assert_eq!(options, ["admin.tokken", "routes[0].path"]);
    assert_eq!(mistakes[0]["did_you_mean"], "token");
    assert!(mistakes[0]["place"].as_str().unwrap().contains("leeward.yaml:3:"), "{mistakes}");

    std::fs::write(filed.file(), text(&filed.upstream, "", "/third").replace("cores: 2", "cores: 3"))
        .unwrap();
    let said = filed.ask("first-token").await;
    assert_eq!((said.status, said.code().as_str()), (409, "needs_restart"));
    assert_eq!(said.json()["options"], serde_json::json!(["cores"]));
    assert_eq!(filed.rig.get("/second").await.status, 200);
}

#[tokio::test]
async fn secrets_are_read_anew() {
    let filed = Filed::not_watched(", token: \"file:token\"").await;
    std::fs::write(filed.folder.path().join("token"), "second-token").unwrap();
    assert_eq!(filed.ask("second-token").await.status, 401, "it is not the file that is watched");
    assert_eq!(filed.ask("first-token").await.status, 200);
    assert_eq!(filed.ask("first-token").await.status, 401);
    assert_eq!(filed.ask("second-token").await.status, 200);
}

#[tokio::test]
async fn without_a_file_there_is_nothing_to_read_and_no_page_can_ask() {
    let upstream = Upstream::start().await;
    let rig = Rig::start(&format!("routes: [{{path: /, service: \"{}\"}}]\n", upstream.url())).await;
    let said = rig.send(rig.admin("POST", "/v1/reload"), "").await;
    assert_eq!((said.status, said.code().as_str()), (409, "no_config_file"));
    let said = rig.send(rig.admin("POST", "/v1/reload").header("origin", "https://evil.example"), "").await;
    assert_eq!(said.status, 403);
    assert_eq!(rig.send(rig.admin("GET", "/v1/reload"), "").await.status, 405);
}
