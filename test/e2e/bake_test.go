//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"keyway/internal/images"
	"keyway/test/await"
	"keyway/test/lab"
)

// TestBake puts the guest into a hostile image. It checks that users without keyway can enter the
// container, and that no user can without a key.
func TestBake(t *testing.T) {
	t.Parallel()
	w := start(t, lab.Options{Docker: true, Images: []lab.Image{lab.NonRoot}})
	for _, argv := range [][]string{{"keyway", "init", "--yes"}, {"keyway", "unlock"}} {
		w.must(t, argv...)
	}
	serveRegistry(t, w.Laptop, w.GPU)
	evil := w.evilImage(t)
	made := w.bake(t, "--image", evil, "--on", "gpu1")
	if again := w.bake(t, "--image", evil, "--on", "gpu1"); again.ID != made.ID || made.ID == "" {
		t.Errorf("the second time it is %s, and not %s", again.ID, made.ID)
	}
	equal(t, "its base", strings.TrimSpace(mustDocker(t, w, "image", "inspect", "-f", `{{index .Config.Labels "org.opencontainers.image.base.name"}}`, bakedImage)), evil)

	t.Run("nobody", func(t *testing.T) {
		if out, err := w.Docker("run", "--rm", bakedImage); err == nil || !strings.Contains(out+err.Error(), "no public key may enter") {
			t.Errorf("without a key it starts: %v\n%s", err, out)
		}
	})
	w.up(t, "baked", "--image", bakedImage)
	t.Run("by ssh", func(t *testing.T) { w.entersBaked(t, sshOption(t, w, "baked", "identityagent")) })
	t.Run("by up", func(t *testing.T) {
		equal(t, "who", w.must(t, "ssh", "baked", "id -u; keyway run echo job"), "1000\njob\n")
		equal(t, "its guest is a mount", w.must(t, "ssh", "baked", `grep -c " /.keyway/bin " /proc/mounts`), "1\n")
	})
	t.Run("elsewhere", func(t *testing.T) { w.bakedElsewhere(t, made) })
}

const bakedImage = "team/baked:ssh"

// evilImage returns an image whose maker would enter every container of it.
func (w *world) evilImage(t *testing.T) string {
	t.Helper()
	const image = "127.0.0.1:5000/evil:1"
	key := strings.TrimSpace(w.must(t, "sh", "-c", "ssh-keygen -q -t ed25519 -N '' -f /root/evil && cat /root/evil.pub"))
	mustDocker(t, w, "run", "--name", "evil", "--user", "0", string(lab.NonRoot), "sh", "-c", fmt.Sprintf(
		"mkdir -m 777 -p /.keyway/data && echo '%[1]s' | tee /.keyway/keys >/.keyway/authorized_keys && echo 'keyway-host-key-1 %[2]s' >/.keyway/data/ssh_host_ed25519_key && chmod 600 /.keyway/data/* && chown -R 1000 /.keyway",
		key, strings.Repeat("A", 43)+"="))
	mustDocker(t, w, "commit", "--change", "USER 1000:1000", "--change", "ENV KEYWAY_AUTHORIZED_KEYS="+strings.ReplaceAll(key, " ", `\ `), "evil", image)
	mustDocker(t, w, "rm", "evil")
	mustDocker(t, w, "push", image)
	return image
}

// bake bakes, and returns the result.
func (w *world) bake(t *testing.T, args ...string) (b images.Baked) {
	t.Helper()
	args = append([]string{"keyway", "bake", "--json"}, args...)
	if !strings.Contains(strings.Join(args, " "), "--tag") {
		args = append(args, "--tag", bakedImage)
	}
	if err := json.Unmarshal([]byte(w.must(t, args...)), &b); err != nil {
		t.Fatal(err)
	}
	return b
}

// entersBaked enters a container that docker run has started, with stock tools alone.
func (w *world) entersBaked(t *testing.T, agent string) {
	do := func(argv ...string) result {
		cmd := w.command(argv...)
		cmd.Env = append(cmd.Env, "SSH_AUTH_SOCK="+agent)
		return w.finish(cmd, "")
	}
	key := strings.TrimSpace(do("ssh-add", "-L").Stdout)
	log := func(name string) string {
		out, err := w.GPU.Output("sh", "-c", "docker logs "+name+" 2>&1")
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	const port = "22022"
	mustDocker(t, w, "run", "-d", "--name", "door", "--network", "host", "-e", "KEYWAY_PORT="+port, "-e", "KEYWAY_AUTHORIZED_KEYS="+key, bakedImage)
	t.Cleanup(func() { w.Docker("rm", "-f", "door") })
	var public string
	await.That(t, "its host key is in the log", func() bool {
		_, public, _ = strings.Cut(log("door"), "with the host key ")
		return strings.Contains(public, "\n")
	})
	public, _, _ = strings.Cut(public, "\n")
	w.write(t, "/root/baked_hosts", "[127.0.0.1]:"+port+" "+public+"\n")
	ssh := func(more ...string) []string {
		return append([]string{"ssh", "-J", "gpu1", "-p", port, "-o", "StrictHostKeyChecking=yes", "-o", "UserKnownHostsFile=/root/baked_hosts"}, more...)
	}
	serves := func() bool { return do(ssh("dev@127.0.0.1", "true")...).Code == 0 }
	enter := func(command string) string {
		t.Helper()
		r := do(ssh("dev@127.0.0.1", command)...)
		if r.Code != 0 {
			t.Error(r)
		}
		return r.Stdout
	}
	await.That(t, "it serves", serves)
	equal(t, "who", enter("id -u"), "1000\n")
	equal(t, "a job", enter("keyway run -d --as one -- sh -c 'echo done; exit 3' >/dev/null; keyway wait one; keyway logs one; ls -a /.keyway/keys 2>&1 | grep -c 'No such'"), "done\n1\n")
	if r := do(append([]string{"env", "-u", "SSH_AUTH_SOCK"}, ssh("-o", "ProxyCommand=ssh -W %h:%p gpu1", "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-i", "/root/evil", "dev@127.0.0.1", "true")...)...); r.Code == 0 {
		t.Errorf("the image's maker enters: %s", r)
	}
	mustDocker(t, w, "restart", "door")
	await.That(t, "it serves again, as the same host", serves)
	equal(t, "the log of the job", enter("keyway logs one"), "done\n")
	mustDocker(t, w, "stop", "door")
	equal(t, "how it ends", strings.TrimSpace(mustDocker(t, w, "inspect", "-f", "{{.State.ExitCode}}", "door")), "0")
	if out, err := w.Docker("run", "--rm", "-e", "KEYWAY_PORT=22023", "-e", "KEYWAY_AUTHORIZED_KEYS="+key, "--network", "host", bakedImage, "sh", "-c", "exit 7"); err == nil || !strings.Contains(err.Error(), "exit status 7") {
		t.Errorf("a command: %v\n%s", err, out)
	}
	mustDocker(t, w, "run", "-d", "--name", "other", "--network", "host", "-e", "KEYWAY_PORT=22024", "-e", "KEYWAY_AUTHORIZED_KEYS="+key, bakedImage)
	t.Cleanup(func() { w.Docker("rm", "-f", "other") })
	await.That(t, "it tells its host key", func() bool { return strings.Contains(log("other"), "with the host key ") })
	if strings.Contains(log("other"), public) {
		t.Error("another container has the same host key")
	}
}

// bakedElsewhere bakes into files and into a registry, from a place and from a registry.
func (w *world) bakedElsewhere(t *testing.T, made images.Baked) {
	file := w.bake(t, "--image", made.Base, "--on", "gpu1", "--output", "/root/baked.tar")
	equal(t, "the image in a file", file.ID, made.ID)
	w.must(t, "keyway", "image", "copy", "/root/baked.tar", "gpu1", "team/copied:1")
	equal(t, "the copied image", strings.TrimSpace(mustDocker(t, w, "image", "inspect", "-f", "{{.Id}}", "team/copied:1")), made.ID)
	const pushed = "127.0.0.1:5000/team/baked:ssh"
	first := w.bake(t, "--image", made.Base, "--push", "--tag", pushed)
	if second := w.bake(t, "--image", made.Base, "--push", "--tag", pushed); second.Pushed != first.Pushed || first.Pushed == "" {
		t.Errorf("pushed as %s, and then as %s", first.Pushed, second.Pushed)
	}
	equal(t, "the pushed image", first.ID, made.ID)
	mustDocker(t, w, "pull", pushed)
	equal(t, "the pulled image", strings.TrimSpace(mustDocker(t, w, "image", "inspect", "-f", "{{.Id}}", pushed)), made.ID)
	saved := w.bake(t, "--image", made.Base, "--output", "/root/saved.tar")
	equal(t, "the image of the registry in a file", saved.ID, made.ID)
	for what, argv := range map[string][]string{
		"no name":     {"--image", made.Base},
		"two targets": {"--image", made.Base, "-t", "x:1", "--push", "-o", "x.tar"},
		"a digest":    {"--image", made.Base, "-t", "x@sha256:" + strings.Repeat("a", 64)},
		"no image":    {"-t", "x:1"},
		"another CPU": {"--image", made.Base, "-t", "x:1", "--push", "--arch", "vax"},
	} {
		if r := w.do(append([]string{"keyway", "bake"}, argv...)...); r.Code != 2 || !strings.Contains(r.Stderr, "→") {
			t.Errorf("%s: %s", what, r)
		}
	}
	if r := w.do("keyway", "bake", "--image", "127.0.0.1:5000/evil:2", "-t", "x:1", "--on", "gpu1"); r.Code == 0 || !strings.Contains(r.Stderr, "evil:1") {
		t.Errorf("a wrong tag names the nearest: %s", r)
	}
}
