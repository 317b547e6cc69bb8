package docker_test

import (
	"os"
	"path/filepath"
	"testing"

	"keyway/internal/engine/enginetest"
	"keyway/internal/keyway"
)

// TestLabelsOfAnImage uses an image with every label that keyway writes, each with a value that
// would serve its author. It checks that the removal of another workspace removes nothing because
// of them.
func TestLabelsOfAnImage(t *testing.T) {
	d := onDaemon(t, localDocker)
	w := d.world(t)
	outside := filepath.Join(t.TempDir(), "workspaces", "victim")
	if err := os.MkdirAll(outside, 0o755); err != nil {
		t.Fatal(err)
	}
	evil := "keyway-test-evil:" + w.owner
	d.importImage(t, evil, "",
		"LABEL dev.keyway.helper=victim", "LABEL dev.keyway.owner="+w.owner, "LABEL dev.keyway.name=victim",
		"LABEL dev.keyway.home="+outside, "LABEL dev.keyway.way=exec", "LABEL dev.keyway.spec={}", "LABEL dev.keyway.version=evil")
	spec := w.Spec(t, "mine")
	spec.Image = evil
	mine := w.Create(t, spec)
	// Also another user's container of it, by any name.
	other := "other-" + w.owner
	if out, err := w.tool("create", "--name", other, evil, "/tool").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	defer func() { _ = w.tool("rm", "-f", other).Run() }()
	w.Create(t, w.Spec(t, "victim"))
	if err := w.Engine.Remove(enginetest.Context(t), "victim"); err != nil {
		t.Fatal(enginetest.Full(err))
	}
	if got := w.Run(t, mine, "env "+keyway.EnvName); got != "mine" {
		t.Errorf("the workspace of the other image is %q", got)
	}
	if out, err := w.tool("inspect", other).CombinedOutput(); err != nil {
		t.Errorf("a container of the other image is gone: %v: %s", err, out)
	}
	if _, err := os.Stat(outside); err != nil {
		t.Errorf("the directory that a label names is gone: %v", err)
	}
}
