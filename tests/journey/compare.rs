//! `bundle diff`: what changed between archives, locks and specs, and what lists that people keep miss.

use serde_json::{Value, json};

use super::{
    machine::digest,
    shop::{Shop, deployment},
};

/// A shop with two archives, `one.tar` and `two.tar`, between which everything changed that can.
fn two() -> Shop {
    let shop = Shop::new();
    let registry = shop.source.registry();
    for (name, tag, layer) in
        [("shop/db", "1.2.3", "db"), ("shop/db", "1.3.0", "newer db"), ("shop/extra", "1", "extra")]
    {
        registry.put_image(name, tag, &[b"first layer", layer.as_bytes()]);
    }
    shop.spec(
        "manifests: [{path: deploy/}]\nimages: [busybox:1.37, shop/db:1.2.3]\nfiles: [{path: motd.txt, name: motd}]\n",
    );
    shop.create("one.tar");
    shop.machine.write("one.lock", shop.machine.read("bundle.lock"));
    registry.put_image("shop/app", "1", &[b"first layer", b"other bytes"]);
    shop.machine.write("motd.txt", "welcome back\n");
    shop.machine.write("deploy/more.yaml", deployment("shop/extra:1"));
    shop.machine.write("deploy/again.yaml", deployment("busybox:1.37"));
    let body =
        "manifests: [{path: deploy/}]\nimages: [shop/db:1.3.0, busybox:1.37]\nfiles: [{path: motd.txt, name: motd}]\n";
    shop.spec(body);
    let spec = shop.machine.text("bundle.yaml").replace("1.0.0", "1.1.0");
    shop.machine.write("bundle.yaml", spec);
    shop.machine.ok(&["create", "--key", "shop.key", "-o", "two.tar", "--update", "shop/app"]);
    shop
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|one| one["image"].as_str().unwrap()).collect()
}

#[test]
fn archives_locks_and_specs_tell_the_same() {
    let shop = two();
    let machine = &shop.machine;
    for (old, new) in
        [("one.tar", "two.tar"), ("one.lock", "bundle.lock"), ("one.lock", "two.tar"), ("one.tar", "bundle.yaml")]
    {
        let told = machine.ends(1, &["diff", old, new, "-o", "json"]).json();
        assert_eq!(told["differs"], true);
        let changes = &told["changes"];
        let images = &changes["images"];
        assert_eq!(names(&images["added"]), ["docker.io/shop/extra:1"], "{old} {new}");
        assert_eq!(images["added"][0]["because"][0]["provenance"][1]["file"], "deploy/more.yaml");
        assert_eq!(names(&images["moved"]), ["docker.io/shop/app:1"]);
        assert_eq!(images["removed"], json!([]));
        let version = &images["versions"][0];
        assert_eq!((&version["repository"], &version["jump"]), (&"docker.io/shop/db".into(), &"minor".into()));
        assert_eq!(names(&version["to"]), ["docker.io/shop/db:1.3.0"]);
        assert_eq!(names(&images["reasons"]), ["docker.io/library/busybox:1.37"]);
        // The entry of the spec moved to another place in its list, and a manifest names it as well.
        let gained = images["reasons"][0]["gained"].as_array().unwrap();
        assert!(gained.iter().any(|one| one["provenance"][1]["file"] == "deploy/again.yaml"), "{gained:#?}");
        assert_eq!(changes["properties"], json!([{"what": "version", "from": "1.0.0", "to": "1.1.0"}]));
        assert_eq!(changes["files"][0]["changed"], json!(["motd.txt"]));
        assert_eq!(changes["size"].is_object(), old.ends_with(".tar") && new.ends_with(".tar"));
    }
    // A spec is resolved, but nothing of it is written.
    let before = machine.read("bundle.lock");
    machine.ok(&["diff", "two.tar", "bundle.yaml"]);
    assert_eq!(machine.read("bundle.lock"), before);
    for same in ["one.tar", "one.lock", "bundle.yaml"] {
        let told = machine.ok(&["diff", same, same, "-o", "json"]).json();
        assert_eq!(told["differs"], false);
    }
    // Without the sources, the lock beside the spec still speaks.
    machine.ok(&["diff", "two.tar", "bundle.yaml", "--locked"]);
    std::fs::remove_file(machine.path("bundle.lock")).unwrap();
    machine.ends(7, &["diff", "two.tar", "bundle.yaml", "--locked"]).says(&["bundle resolve"]);
}

#[test]
fn sizes_say_what_must_travel() {
    let shop = two();
    let told = shop.machine.ends(1, &["diff", "one.tar", "two.tar", "-o", "json"]).json();
    let size = &told["changes"]["size"];
    let number = |key: &str| size[key].as_u64().unwrap();
    assert_eq!(number("new") + number("shared"), number("to"));
    assert_eq!(number("gone") + number("shared"), number("from"));
    assert!(number("new") > 0 && number("shared") >= b"first layer".len() as u64);
    let added = &told["changes"]["images"]["added"][0];
    assert!(added["size"].as_u64().unwrap() > b"first layer".len() as u64, "{added:#}");
}

#[test]
fn people_read_tables_and_markdown() {
    let shop = two();
    let table = shop.machine.ends(1, &["diff", "one.tar", "two.tar"]);
    for part in [
        "docker.io/shop/db",
        "version, minor",
        "1.2.3",
        "1.3.0",
        "docker.io/shop/extra:1",
        "deploy/more.yaml:8",
        "1 image added, 1 repository with other versions, 1 image moved, 1 image with other reasons, 1 file set changed, 1 property changed",
    ] {
        assert!(table.out.contains(part), "{part:?} is not in\n{}", table.out);
    }
    table.says(&["one.tar and two.tar differ", "1 image moved"]);
    for width in ["60", "200"] {
        let narrow = shop.machine.bundle(&["diff", "one.tar", "two.tar"]).env("COLUMNS", width).output().unwrap();
        let out = String::from_utf8(narrow.stdout).unwrap();
        assert!(!out.contains('\u{1b}') && out.lines().all(|line| line == line.trim_end()), "{out}");
    }
    let markdown = shop.machine.ends(1, &["diff", "one.tar", "two.tar", "-o", "markdown"]).out;
    assert!(markdown.starts_with("# one.tar → two.tar\n"), "{markdown}");
    assert!(markdown.contains("| docker.io/shop/extra:1 | added |"), "{markdown}");
    // Every row of a table has as many cells as its head.
    let cells = |line: &str| line.replace("\\|", "").matches('|').count();
    let mut columns = 0;
    for line in markdown.lines() {
        match (line.starts_with('|'), columns) {
            (false, _) => columns = 0,
            (true, 0) => columns = cells(line),
            (true, columns) => assert_eq!(cells(line), columns, "{line}"),
        }
    }
}

#[test]
fn lists_kept_by_hand_are_compared() {
    let shop = Shop::new();
    let machine = &shop.machine;
    machine.ok(&["resolve"]);
    let pinned = digest(shop.source.registry().get("/v2/shop/app/manifests/1").body);
    machine.write(
        "images.txt",
        "# what we carry\nbusybox:1.36   # soon newer\n\nquay.io/old/thing:3\nnginx\n- not an image\n",
    );
    let told = machine.ends(1, &["diff", "images.txt", "bundle.lock", "-o", "json"]).json();
    let coverage = &told["coverage"];
    assert_eq!(told["old"]["what"], "list");
    assert_eq!(names(&coverage["missing"]), ["docker.io/shop/app:1"]);
    let because = &coverage["missing"][0]["because"][0]["provenance"];
    assert_eq!(because[1], json!({"file": "deploy/app.yaml", "line": 8}));
    assert_eq!(names(&coverage["stale"]), ["docker.io/library/nginx:latest", "quay.io/old/thing:3"]);
    assert_eq!(coverage["stale"][1]["at"]["line"], 4);
    let version = &coverage["versions"][0];
    assert_eq!(
        (&version["listed"][0]["written"], &version["needed"][0]["image"]),
        (&"busybox:1.36".into(), &"docker.io/library/busybox:1.37".into())
    );
    assert_eq!(coverage["notCompared"][0]["at"]["line"], 6);
    let text = machine.ends(1, &["diff", "images.txt"]).out;
    for part in [
        "Missing: needed and not listed",
        "deploy/app.yaml:8",
        "images.txt:4",
        "1 image is missing",
        "cannot be compared",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    // Exact lists, in every form that people write them.
    let other = digest("something else");
    for (name, list) in [
        ("plain.txt", "docker.io/library/busybox:1.37\nshop/app:1\n".to_owned()),
        ("list.yaml", "- busybox:1.37\n- shop/app:1\n".to_owned()),
        ("images.yaml", "images:\n  - busybox:1.37\n  - {image: 'shop/app:1'}\n".to_owned()),
        (
            "parts.yaml",
            "images:\n  - {name: busybox, tag: 1.37}\n  - {registry: docker.io, repository: shop/app, tag: 1}\n"
                .to_owned(),
        ),
        ("digests.txt", format!("busybox:1.37\nshop/app@{pinned}\n")),
        ("both.txt", format!("busybox:1.37\nshop/app:1@{pinned}\n")),
    ] {
        machine.write(name, list);
        let told = machine.ok(&["diff", name, "bundle.lock", "-o", "json"]).json();
        assert_eq!((&told["differs"], &told["coverage"]["covered"]), (&false.into(), &2.into()), "{name}");
    }
    machine.write("moved.txt", format!("busybox:1.37\nshop/app:1@{other}\n"));
    let told = machine.ends(1, &["diff", "moved.txt", "bundle.lock", "-o", "json"]).json();
    assert_eq!(told["coverage"]["moved"][0]["pinned"], pinned);
    machine.ends(2, &["diff", "bundle.lock", "plain.txt"]).says(&["give it first"]);
    machine.ends(2, &["diff", ".", "bundle.lock"]).says(&["folder"]);
    machine.ends(3, &["diff", "absent", "bundle.lock"]).says(&["absent"]);
    machine.ends(2, &["diff", "deploy/app.yaml", "bundle.lock"]).says(&["apps/v1 Deployment"]);
}

#[test]
fn documents_of_other_tools_are_compared() {
    let shop = Shop::new();
    let machine = &shop.machine;
    machine.ok(&["resolve"]);
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/peers");
    for (file, what, not_compared) in [
        ("zarf.yaml", "zarf", &["components[1].futureKey", "variable"][..]),
        ("imageset-v1.yaml", "imageset", &["rhacs-operator", "stable-4.16"]),
        ("imageset-v2.yaml", "imageset", &["stable-4.18"]),
        ("hauler.yaml", "hauler", &["images.txt"]),
    ] {
        machine.write(file, std::fs::read(folder.join(file)).unwrap());
        let told = machine.ends(1, &["diff", file, "bundle.lock", "-o", "json"]).json();
        assert_eq!(told["old"]["what"], what);
        let coverage = &told["coverage"];
        let lists_app =
            coverage["missing"].as_array().unwrap().iter().all(|one| one["image"] != "docker.io/shop/app:1");
        assert_eq!(lists_app, ["zarf.yaml", "imageset-v1.yaml"].contains(&file), "{file} {coverage:#}");
        for part in not_compared {
            let (found, text) = (coverage["notCompared"].as_array().unwrap(), coverage["notCompared"].to_string());
            let key = part.rsplit('.').next().unwrap();
            assert!(text.contains(key) && !found.is_empty(), "{part}: {text}");
        }
        assert!(!coverage["charts"].as_array().unwrap().is_empty(), "{file}");
        machine.ends(1, &["diff", file, "bundle.lock"]);
        machine.ends(1, &["diff", file, "bundle.lock", "-o", "markdown"]);
    }
}

#[test]
fn inspect_writes_sheets_and_pages() {
    let shop = Shop::new();
    shop.create("shop.tar");
    let sheet = shop.machine.ok(&["inspect", "shop.tar", "-o", "csv"]).out;
    let lines: Vec<&str> = sheet.split("\r\n").collect();
    assert_eq!(lines[0], "kind,name,version,digest,bytes,platforms,source,signed by,why");
    assert!(lines[2].starts_with("image,docker.io/shop/app:1,1,sha256:"), "{sheet}");
    assert!(lines[2].contains("linux/amd64,docker.io,,") && lines[2].contains("deploy/app.yaml:8"), "{sheet}");
    assert!(lines[3].starts_with("file,motd/motd.txt,,sha256:"), "{sheet}");
    let page = shop.machine.ok(&["inspect", "shop.tar", "-o", "markdown", "--key", "shop.pub"]).out;
    assert!(page.starts_with("# shop 1.0.0\n") && page.contains("| signed by | SHA256:"), "{page}");
    assert!(
        page.contains("## Images\n\n| image |") && page.contains("| docker.io/shop/app:1 | linux/amd64 |"),
        "{page}"
    );
}
