package beside

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"

	"keyway/internal/engine"
	"keyway/internal/engine/docker/daemon"
	"keyway/internal/engine/docker/inside"
	"keyway/internal/keyway"
)

const anID = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// running returns the description of a running container, as a daemon gives it, after change.
func running(change func(*container.InspectResponse)) container.InspectResponse {
	c := container.InspectResponse{
		ID: anID, Name: "/web", Path: "/bin/sh", State: &container.State{Running: true},
		HostConfig: &container.HostConfig{}, Config: &container.Config{},
	}
	if change != nil {
		change(&c)
	}
	return c
}

// TestContainersThatAreRefused checks that containers that cannot become workspaces are refused
// with a next step and without a daemon's control characters.
func TestContainersThatAreRefused(t *testing.T) {
	g := &Guests{Client: &daemon.Client{}, Owner: "1000"}
	labels := func(owner, name string) func(*container.InspectResponse) {
		return func(c *container.InspectResponse) {
			c.Path, c.Config.Labels = keyway.GuestHome.Program(), map[string]string{inside.LabelOwner: owner, inside.LabelName: name}
		}
	}
	if err := g.refusal(running(nil)); err != nil {
		t.Error(err)
	}
	for what, c := range map[string]struct {
		change func(*container.InspectResponse)
		kind   keyway.Kind
		says   string
	}{
		"nothing said":        {func(c *container.InspectResponse) { c.State = nil }, keyway.Other, "is incomplete"},
		"no ID":               {func(c *container.InspectResponse) { c.ID = "../etc" }, keyway.Other, "is incomplete"},
		"my workspace":        {labels("1000", "train"), keyway.NameTaken, "the workspace train already"},
		"another's workspace": {labels("1001", "train"), keyway.NameTaken, "the user with uid 1001"},
		"an odd owner":        {labels("1\x1b[31m evil", "train"), keyway.NameTaken, "another user"},
		"no labels":           {labels("", ""), keyway.NameTaken, "another user"},
		"an odd name":         {labels("1000", "../x"), keyway.NameTaken, "uid 1000"},
		"stopped":             {func(c *container.InspectResponse) { c.State.Running = false }, keyway.NotRunning, "start web"},
		"paused":              {func(c *container.InspectResponse) { c.State.Paused = true }, keyway.NotRunning, "unpause web"},
		"restarting":          {func(c *container.InspectResponse) { c.State.Restarting = true }, keyway.NotRunning, "logs web"},
		"read-only":           {func(c *container.InspectResponse) { c.HostConfig.ReadonlyRootfs = true }, keyway.Usage, "read-only"},
		"Windows":             {func(c *container.InspectResponse) { c.Platform = "windows" }, keyway.Usage, "Windows"},
		"an odd name outside": {func(c *container.InspectResponse) { c.Name, c.State.Running = "/x; rm -rf /", false }, keyway.NotRunning, "start 0123456789ab"},
	} {
		err := keyway.AsError(g.refusal(running(c.change)))
		if err == nil || err.Kind != c.kind || !strings.Contains(err.Message+err.Next, c.says) || err.Help() == "" && c.kind != keyway.Other {
			t.Errorf("%s: %v, want %s with %q", what, err, c.kind, c.says)
		}
	}
}

// FuzzClaim checks that a claim is read within its bound, whatever the programs of the container
// have written.
func FuzzClaim(f *testing.F) {
	for _, text := range []string{"", "1000 abc\n", strings.Repeat("x", 2*maxClaim)} {
		archive, err := inside.Archive(inside.File{Path: claimPath, Data: []byte(text)})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(archive)
	}
	var link bytes.Buffer
	w := tar.NewWriter(&link)
	if err := errors.Join(w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: "owner", Linkname: "/etc/passwd"}), w.Close()); err != nil {
		f.Fatal(err)
	}
	f.Add(link.Bytes())
	f.Fuzz(func(t *testing.T, archive []byte) {
		if said := readClaim(bytes.NewReader(archive)); len(said) > maxClaim {
			t.Errorf("%d bytes", len(said))
		}
	})
}

// TestClaimsDiffer checks that a guest of another user, directory or machine does not count as one
// of this Home.
func TestClaimsDiffer(t *testing.T) {
	mine := &Guests{Owner: "1000", Homes: engine.HomesIn("/home/a")}
	for what, other := range map[string]*Guests{
		"another user": {Owner: "1001", Homes: engine.HomesIn("/home/a")}, "another directory": {Owner: "1000", Homes: engine.HomesIn("/home/b")},
	} {
		if mine.claim() == other.claim() {
			t.Errorf("%s has the same claim", what)
		}
	}
	archive, err := inside.Archive(inside.File{Path: claimPath, Data: []byte(mine.claim())})
	if err != nil {
		t.Fatal(err)
	}
	if got := readClaim(bytes.NewReader(archive)); got != mine.claim() {
		t.Errorf("%q", got)
	}
}

// TestFailuresAreExplained checks the errors for a guest that does not come up, from the messages
// of daemons.
func TestFailuresAreExplained(t *testing.T) {
	g := &Guests{Client: &daemon.Client{}}
	as := engine.Record{Spec: keyway.Spec{Process: keyway.Process{User: "nobody"}}}
	for said, c := range map[string]struct {
		rec  engine.Record
		kind keyway.Kind
		says string
	}{
		`OCI runtime exec failed: exec /.keyway/bin/keyway-guest: exec format error`: {engine.Record{}, keyway.GuestFailed, "another kind of processor"},
		`unable to upgrade to tcp, received 500`:                                     {as, keyway.Usage, `"nobody"`},
		`the workspace in /.keyway runs already`:                                     {engine.Record{}, keyway.GuestFailed, "runs already"},
	} {
		err := keyway.AsError(g.explain(context.Background(), c.rec, "web", errors.New(said)))
		if err.Kind != c.kind || !strings.Contains(err.Message, c.says) || err.Help() == "" {
			t.Errorf("%s: %v (%s)", said, err, err.Help())
		}
	}
}
