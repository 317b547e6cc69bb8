package keyway

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestPullValidate(t *testing.T) {
	digest := "sha256:" + strings.Repeat("a", 64)
	good := func() Pull {
		return Pull{Image: "x:1", Repository: "https://ghcr.io/v2/x", Config: []byte("{}"), Layers: []Layer{{digest, digest, 1}}, Login: Login{Registry: "ghcr.io", Token: "t"}}
	}
	if err := good().Validate(); err != nil {
		t.Fatal(err)
	}
	for what, spoil := range map[string]func(*Pull){
		"no image":         func(p *Pull) { p.Image = "" },
		"a long login":     func(p *Pull) { p.Login.Password = strings.Repeat("x", maxLogin+1) },
		"no configuration": func(p *Pull) { p.Config = nil },
		"a path":           func(p *Pull) { p.Layers[0].Digest = "sha256:../../etc/passwd" },
		"no size":          func(p *Pull) { p.Layers[0].Size = 0 },
		"a huge layer":     func(p *Pull) { p.Layers[0].Size = MaxLayerSize + 1 },
		"many layers":      func(p *Pull) { p.Layers = make([]Layer, MaxLayers+1) },
	} {
		p := good()
		if spoil(&p); !Is(p.Validate(), Usage) {
			t.Errorf("%s: %v", what, p.Validate())
		}
	}
	if err := (Pull{Image: "x"}).Validate(); err != nil {
		t.Error(err)
	}
}

func TestALoginIsInNoText(t *testing.T) {
	l := Login{Registry: "r", Token: "s3cret", Username: "s3cret", Password: "s3cret", IdentityToken: "s3cret"}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("pull", "login", l, "in", Pull{Login: l})
	said := fmt.Sprintf("%v %+v %#v %s %q %x %v", l, l, l, l, l, l, Pull{Login: l}) + log.String() + fmt.Sprint(&l, []Login{l}) + Errorf(Other, "%v", l).Error()
	if strings.Contains(said, "s3cret") || strings.Contains(said, fmt.Sprintf("%x", "s3cret")) {
		t.Error(said)
	}
	if (Login{}).Opens("") || (Login{Registry: "r"}).Opens("r") || !l.Opens("r") || l.Opens("q") {
		t.Error("a login opens what it is not for")
	}
}
