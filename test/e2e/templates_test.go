//go:build linux

package e2e

import (
	"encoding/json"
	"io"
	"log"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	containers "github.com/google/go-containerregistry/pkg/registry"

	"keyway/internal/catalogue"
	"keyway/internal/keyway"
	"keyway/test/lab"
)

// projTemplate has every setting of a template beside its image.
const projTemplate = `services:
  train:
    image: keyway-lab/base
    volumes: ["/srv/data:/mnt/data", "/srv/set:/mnt/set:ro"]
    environment: {SEED: "17"}
    env_file: [train.env]
    secrets: [token]
    ports: ["8099"]
    shm_size: 96mb
    ulimits: {nofile: 4242}
    x-keyway:
      setup: |
        echo "set up by $(id -u) with $SEED and $FROM_FILE" | tee -a /mnt/data/setup
      forward_agent: true
      home: proj-home
secrets:
  token: {file: ./token}
`

// ada is an ordinary user of the GPU machine who may use its Docker.
const adaUID = 2001

func (w *world) addAda(t *testing.T) {
	t.Helper()
	if err := w.AddUser(w.GPU, "ada", adaUID, "ada"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.GPU.Output("sh", "-c", "chmod 666 /run/docker.sock && mkdir -p /srv/data /srv/set && chown ada /srv/data && echo set >/srv/set/file"); err != nil {
		t.Fatal(err)
	}
}

// serveRegistry serves one registry at 127.0.0.1:5000 of each host.
func serveRegistry(t *testing.T, hosts ...*lab.Host) {
	t.Helper()
	handler := containers.New(containers.Logger(log.New(io.Discard, "", 0)))
	for _, h := range hosts {
		l, err := h.Listen("127.0.0.1:5000")
		if err != nil {
			t.Fatal(err)
		}
		s := &http.Server{Handler: handler}
		var served sync.WaitGroup
		served.Go(func() { _ = s.Serve(l) })
		t.Cleanup(func() { _ = s.Close(); served.Wait() })
	}
}

// TestTemplates checks a workspace of a template over a bastion, for a user that is not root there,
// and then the templates that operators publish.
func TestTemplates(t *testing.T) {
	t.Parallel()
	w := start(t, lab.Options{Docker: true, Images: []lab.Image{lab.Base, lab.Busybox}})
	w.addAda(t)
	for _, argv := range [][]string{{"keyway", "init", "--yes"}, {"keyway", "unlock"}, {"mkdir", "/root/proj"}} {
		w.must(t, argv...)
	}
	w.write(t, "/root/proj/keyway.yaml", projTemplate)
	w.write(t, "/root/proj/token", "s3cret")
	w.write(t, "/root/proj/train.env", "FROM_FILE=file\n")
	t.Run("one", w.oneTemplate)
	t.Run("published", w.publishedTemplates)
}

func (w *world) upTrain(t *testing.T, args ...string) result {
	t.Helper()
	r := w.inProject(append([]string{"keyway", "up", "train", "--on", "ada", "--forward-agent"}, args...)...)
	if r.Code != 0 {
		t.Fatal(r)
	}
	return r
}

// oneTemplate checks every field of projTemplate from inside.
func (w *world) oneTemplate(t *testing.T) {
	r := w.upTrain(t)
	holds(t, "up", r.Stderr, "it asks for your agent to be forwarded")
	const set = "set up by 2001 with 17 and file\n"
	holds(t, "the setup's output", r.Stdout+r.Stderr, set)
	equal(t, "the setup's log", w.must(t, "keyway", "logs", "train/setup"), set)
	inside := func(command string) string { t.Helper(); return w.must(t, "ssh", "train", command) }
	equal(t, "whose files on a mount are", inside("echo x >/mnt/data/mine && stat -c %u:%a /mnt/data/mine"), "2001:644\n")
	if owner, err := w.GPU.Output("stat", "-c", "%U", "/srv/data/mine", "/srv/data/setup"); err != nil || owner != "ada\nada\n" {
		t.Errorf("at the place they are of %q, %v", owner, err)
	}
	equal(t, "a file of a data set", inside("cat /mnt/set/file"), "set\n")
	if r := w.do("ssh", "train", "touch /mnt/set/new"); r.Code == 0 {
		t.Errorf("a data set can be written to: %s", r)
	}
	equal(t, "the limits", inside("ulimit -n; df -m /dev/shm | awk 'END {print $2}'"), "4242\n96\n")
	equal(t, "the secret", inside("cat /run/secrets/token; stat -c ' %u:%a' /run/secrets/token"), "s3cret 2001:400\n")
	if said := mustDocker(t, w, "inspect", "--format", "{{json .}}", w.onlyContainer(t)); strings.Contains(said, "s3cret") || !strings.Contains(said, "SEED=17") {
		t.Errorf("what the daemon shows: %s", said)
	}
	holds(t, "the forwarded agent", inside("ssh-add -L"), "lab@laptop")

	holds(t, "ports before", w.must(t, "keyway", "ports", "train"), "offered by the template; nothing listens")
	inside("mkdir -p ~/www && echo served >~/www/index.html")
	w.must(t, "keyway", "run", "train", "-d", "--as", "web", "--", "sh", "-c", "cd ~/www && exec python3 -m http.server --bind 127.0.0.1 8099")
	w.await(t, "web", "keyway", "ports", "train")
	o := w.open(t, "train", "8099", "--no-browser")
	equal(t, "what is served", w.get(o.URL).Stdout, "served\n")
	o.close(t)

	w.must(t, "keyway", "stop", "--yes", "train")
	w.must(t, "keyway", "start", "train")
	w.must(t, "keyway", "rm", "--yes", "train")
	w.upTrain(t)
	equal(t, "the home after rm", inside("cat ~/www/index.html; wc -l </mnt/data/setup"), "served\n2\n")
	w.must(t, "keyway", "rm", "--yes", "--volumes", "train")
	w.upTrain(t)
	equal(t, "the home after rm --volumes", inside("ls -d ~/www 2>/dev/null; stat -c %u ~"), "2001\n")
	w.must(t, "keyway", "up", "--on", "ada", "--image", string(lab.Base), "--name", "other", "-v", "proj-home:/theirs")
	if r := w.do("keyway", "rm", "--yes", "--volumes", "train"); r.Code == 0 || !strings.Contains(r.Stderr, "train is removed, but not all of its volumes: the volume proj-home is in use") {
		t.Errorf("a volume that another workspace uses: %s", r)
	}
	if known := w.must(t, "keyway", "ls"); strings.Contains(known, "train") {
		t.Errorf("after that it is listed:\n%s", known)
	}
	w.must(t, "keyway", "rm", "--yes", "other")
	w.upTrain(t)
	w.must(t, "keyway", "rm", "--yes", "--volumes", "train")

	w.write(t, "/root/proj/keyway.yaml", strings.Replace(projTemplate, "setup: |", "setup: |\n        echo no >&2; exit 7", 1))
	if r := w.inProject("keyway", "up", "train", "--on", "ada", "--forward-agent"); r.Code == 0 || !strings.Contains(r.Stderr, "its setup failed with 7") || !strings.Contains(r.Stderr, "train/setup") {
		t.Errorf("a setup that fails: %s", r)
	}
	holds(t, "its log", w.do("keyway", "logs", "train/setup").Stderr, "no\n")
	w.must(t, "keyway", "rm", "--yes", "--volumes", "train")
}

// onlyContainer returns the only container of the place.
func (w *world) onlyContainer(t *testing.T) string {
	t.Helper()
	return strings.TrimSpace(mustDocker(t, w, "ps", "-q"))
}

// operators is the template to publish: its image by the digest, and the settings that users may
// change.
const operators = `services:
  team:
    image: 127.0.0.1:5000/lab/busybox:1
    environment: {MODE: team}
    volumes: ["/srv/set:/mnt/set:ro"]
    shm_size: 64mb
    x-keyway:
      setup: echo welcome
      override:
        shm_size: 128mb
        environment: [SEED]
        volumes: [/srv/data]
`

// publishedTemplates publishes on one machine, installs on another, and requests allowed and
// forbidden settings.
func (w *world) publishedTemplates(t *testing.T) {
	serveRegistry(t, w.Laptop, w.GPU)
	mustDocker(t, w, "tag", string(lab.Busybox), "127.0.0.1:5000/lab/busybox:1")
	mustDocker(t, w, "push", "-q", "127.0.0.1:5000/lab/busybox:1")
	w.must(t, "mkdir", "/root/ops", "/root/empty")
	w.write(t, "/root/ops/keyway.yaml", operators)
	r := w.do("env", "-C", "/root/ops", "keyway", "templates", "publish", "team", "--to", "out")
	if r.Code != 0 || !strings.Contains(r.Stderr, "install -D -o root") || !strings.Contains(r.Stderr, "--shm-size ≤ 128mb") {
		t.Fatal(r)
	}
	file, err := w.Laptop.ReadFile("/root/ops/out/team.json")
	if err != nil {
		t.Fatal(err)
	}
	if p, err := catalogue.Parse([]byte(file)); err != nil || !strings.HasPrefix(p.Spec.Image, "127.0.0.1:5000/lab/busybox@sha256:") {
		t.Fatalf("published: %+v, %v", p.Spec, err)
	}
	const installed = catalogue.Dir + "/team.json"
	w.installTemplate(t, file)
	up := func(args ...string) result {
		return w.do(append([]string{"env", "-C", "/root/empty", "keyway", "up", "--on", "ada"}, args...)...)
	}
	rows := w.must(t, "env", "-C", "/root/empty", "keyway", "templates", "--on", "ada")
	holds(t, "the list", rows, "--shm-size ≤ 128mb")
	holds(t, "the completion", w.must(t, "env", "-C", "/root/empty", "keyway", "__complete", "up", "--on", "ada", "te"), "team\tthe place")

	if r := up("team"); r.Code != 0 || !strings.Contains(r.Stderr, "ada:"+installed) || !strings.Contains(r.Stdout+r.Stderr, "welcome") {
		t.Fatal(r)
	}
	const inside = `echo $MODE $SEED; df -m /dev/shm | awk 'END {print $2}'; cat /mnt/set/file`
	equal(t, "as published", w.must(t, "ssh", "team", inside), "team\n64\nset\n")
	holds(t, "the pin", w.must(t, "env", "-C", "/root/empty", "keyway", "pin", "team"), "as ada/team")
	holds(t, "the comparison", w.must(t, "env", "-C", "/root/empty", "keyway", "drift", "team"), "nothing differs")
	if r := up("team", "--name", "more", "--shm-size", "128mb", "-e", "SEED=3", "-v", "/srv/data:/mnt/data"); r.Code != 0 {
		t.Error(r)
	}
	equal(t, "within the limits", w.must(t, "ssh", "more", inside+"; id -u; test -w /mnt/data && echo rw"), "team 3\n128\nset\n2001\nrw\n")
	refused := func(why string, says string, args ...string) {
		t.Helper()
		r := up(append([]string{"team", "--name", "other"}, args...)...)
		if r.Code != keyway.ExitCode(keyway.Errorf(keyway.NotAllowed, "")) || !strings.Contains(r.Stderr, says) || !strings.Contains(r.Stderr, "ada suggests: ") {
			t.Errorf("%s: want %q: %s", why, says, r)
		}
	}
	refused("beyond a limit", "129mb is asked for (shared memory), and 128mb is the most", "--shm-size", "129mb")
	refused("another image", "users may not change the image", "--image", "keyway-lab/base")
	refused("another directory", `users may not mount "/srv"; they may mount: /srv/data`, "-v", "/srv:/mnt/srv")
	refused("another variable", `users may not set the variable "MODE"; they may set: SEED`, "-e", "MODE=mine")
	refused("as root", "users may not change the user", "--user", "0")
	refused("plain processes", "users may not choose the engine host", "--engine", "host")
	var told struct{ Error keyway.Error }
	r = up("team", "--name", "other", "--shm-size", "1g", "--json")
	if err := json.Unmarshal([]byte(lastLine(r.Stderr)), &told); err != nil || told.Error.Kind != keyway.NotAllowed || !strings.Contains(told.Error.Next, "--shm-size 128mb") {
		t.Errorf("as JSON: %v, %s", err, r)
	}
	if r := up("--image", string(lab.Base), "--name", "free"); r.Code != 0 {
		t.Errorf("guidance keeps nobody from other images: %s", r)
	}

	w.installTemplate(t, strings.Replace(file, `"name": "team",`, `"name": "team", "only": true,`, 1))
	if r := up("--image", string(lab.Base), "--name", "other"); r.Code != keyway.ExitCode(keyway.Errorf(keyway.NotAllowed, "")) || !strings.Contains(r.Stderr, "from its own templates only: team") {
		t.Errorf("a fence: %s", r)
	}
	if r := w.do("keyway", "check", "--on", "ada", "--image", string(lab.Base)); r.Code != keyway.ExitCode(keyway.Errorf(keyway.NotAllowed, "")) || !strings.Contains(r.Stdout, "from its own templates only: team") {
		t.Errorf("a fence, before it is met: %s", r)
	}
	if _, err := w.GPU.Output("chown", "ada", w.GPU.Inside(installed)); err != nil {
		t.Fatal(err)
	}
	if r := up("team", "--name", "other"); r.Code != keyway.ExitCode(keyway.Errorf(keyway.BadConfig, "")) || !strings.Contains(r.Stderr, "it belongs to uid 2001, and not to root") {
		t.Errorf("a file of somebody else's: %s", r)
	}
	w.must(t, "keyway", "rm", "--yes", "team", "more", "free")
}

// installTemplate follows the instructions of keyway templates publish as root of the GPU machine.
func (w *world) installTemplate(t *testing.T, file string) {
	t.Helper()
	if err := w.GPU.WriteFile("/root/team.json", file, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := w.GPU.Output("install", "-D", "-o", "root", "-g", "root", "-m", "644", w.GPU.Inside("/root/team.json"), w.GPU.Inside(catalogue.Dir+"/team.json")); err != nil {
		t.Fatal(err)
	}
}

// await runs a command until it prints text.
func (w *world) await(t *testing.T, text string, argv ...string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		r := w.do(argv...)
		if strings.Contains(r.Stdout, text) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("want %q: %s", text, r)
		}
	}
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}
