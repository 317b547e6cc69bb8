package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"keyway/internal/keyway"
)

// greeting bounds the time until a registry's first answer. The place may be nearer.
const greeting = 5 * time.Second

// dockerHub is the default registry, as images name it and as it is reached.
const dockerHub = "docker.io"

// SilentError is the error if this laptop could not reach a registry. It is not returned once
// the registry has answered.
type SilentError struct{ error }

func (e SilentError) Unwrap() error { return e.error }

func silent(err error) error {
	if request := (*url.Error)(nil); errors.As(err, &request) {
		return SilentError{err}
	}
	return err
}

// Domain returns the registry that an image names, and docker.io where it names none.
func Domain(image string) (string, error) {
	ref, err := parse(image)
	if err != nil {
		return "", err
	}
	return domain(ref), nil
}

// SameImage reports whether two names are those of one image, as Docker completes names.
func SameImage(a, b string) bool {
	one, err := parse(a)
	two, bad := parse(b)
	return err == nil && bad == nil && one.Name() == two.Name()
}

func domain(ref name.Reference) string {
	if host := ref.Context().RegistryStr(); host != name.DefaultRegistry {
		return host
	}
	return dockerHub
}

// parse reads the name of an image. A registry of this machine may speak plain HTTP, as it
// may with engines, at whichever of the machine's own addresses.
func parse(image string) (name.Reference, error) {
	ref, err := name.ParseReference(image)
	if err == nil && OfThisMachine(ref.Context().RegistryStr()) {
		ref, err = name.ParseReference(image, name.Insecure)
	}
	if err != nil {
		return nil, keyway.Errorf(keyway.Usage, "%.200q cannot be an image: %w", image, err).Hint("for example: pytorch/pytorch:2.8.0-cuda12.6-cudnn9-devel")
	}
	return ref, nil
}

// Stored returns the login that docker login keeps on this laptop for the image's registry. It
// gives its holder all permissions of the user there.
func Stored(ctx context.Context, image string) (keyway.Login, error) {
	ref, err := parse(image)
	if err != nil {
		return keyway.Login{}, err
	}
	auth, err := authn.Resolve(ctx, authn.DefaultKeychain, ref.Context())
	if err != nil || auth == authn.Anonymous {
		return keyway.Login{}, nil
	}
	return login(ctx, domain(ref), auth), nil
}

func login(ctx context.Context, registry string, auth authn.Authenticator) keyway.Login {
	c, err := authn.Authorization(ctx, auth)
	if err != nil {
		return keyway.Login{}
	}
	return keyway.Login{Registry: registry, Token: c.RegistryToken, Username: c.Username, Password: c.Password, IdentityToken: c.IdentityToken}
}

// Find returns the login and the layers that a place needs to get the image from its registry, for
// that architecture. If the registry gives tokens, the login is a token that permits to pull this
// image for some minutes; otherwise it is the login of docker login. Errors are those of Look.
func Find(ctx context.Context, image, arch string) (keyway.Pull, error) {
	p := keyway.Pull{Image: image}
	ref, err := parse(image)
	if err != nil {
		return p, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	access, login, err := open(ctx, ref, greeting)
	if err != nil {
		return p, explain(ref, err, nil)
	}
	p.Login, p.Repository = login, access.repository
	options := []remote.Option{remote.WithContext(ctx), remote.WithTransport(access), remote.WithPlatform(v1.Platform{OS: "linux", Architecture: arch})}
	found, err := remote.Get(ref, options...)
	if err != nil {
		return p, explain(ref, err, func() []string { return nearest(ref, options) })
	}
	built, err := found.Image()
	if err != nil {
		return p, explain(ref, err, nil)
	}
	if err := contents(&p, built); err != nil {
		return p, explain(ref, err, nil)
	}
	return p, p.Validate()
}

// access holds what a client needs to reach one repository.
type access struct {
	*transport.Wrapper
	repository string
}

// open authenticates to the registry once, within the timeout, and returns the data that others
// need to pull, too.
func open(ctx context.Context, ref name.Reference, most time.Duration) (w access, l keyway.Login, err error) {
	repo := ref.Context()
	soon, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	asked, err := transport.Ping(soon, repo.Registry, remote.DefaultTransport)
	if err != nil {
		return w, l, silent(err)
	}
	auth, err := authn.Resolve(ctx, authn.DefaultKeychain, repo)
	if err != nil { // a helper that is not there: most images need no login
		auth = authn.Anonymous
	}
	scheme := "https"
	if asked.Insecure {
		scheme = "http"
		if !OfThisMachine(repo.RegistryStr()) {
			auth = authn.Anonymous // nothing secret where others can listen
		}
	}
	base := sealed{remote.DefaultTransport, auth != authn.Anonymous}
	w.repository = scheme + "://" + repo.RegistryStr() + "/v2/" + repo.RepositoryStr()
	if !strings.EqualFold(asked.Scheme, "bearer") {
		if asked.Scheme != "" && auth != authn.Anonymous {
			l = login(ctx, domain(ref), auth)
		}
		rt, err := transport.FromToken(repo.Registry, auth, base, asked, nil)
		return w.over(rt, err), l, err
	}
	token, err := transport.Exchange(ctx, repo.Registry, auth, base, []string{repo.Scope(transport.PullScope)}, asked)
	if err != nil {
		return w, l, err
	}
	if token.Token == "" {
		token.Token = token.AccessToken
	}
	rt, err := transport.FromToken(repo.Registry, authn.FromConfig(authn.AuthConfig{RegistryToken: token.Token}), base, asked, token)
	return w.over(rt, err), keyway.Login{Registry: domain(ref), Token: token.Token}, err
}

// sealed sends no login, and no token that a login has given, where others can listen:
// a registry says itself where its tokens are, and may redirect.
type sealed struct {
	http.RoundTripper
	login bool // there is one
}

var errHeard = errors.New("it requires a login over an unencrypted connection")

func (s sealed) RoundTrip(r *http.Request) (*http.Response, error) {
	secret := r.Header.Get("Authorization") != "" || r.Method == http.MethodPost // of an identity token
	if s.login && secret && r.URL.Scheme != "https" && !keyway.IsLoopback(r.URL.Hostname()) {
		return nil, errHeard
	}
	return s.RoundTripper.RoundTrip(r)
}

func (w access) over(rt http.RoundTripper, err error) access {
	if wrapped, ok := rt.(*transport.Wrapper); ok && err == nil {
		w.Wrapper = wrapped
	}
	return w
}

// OfThisMachine reports whether a registry, as images name it, is the machine that asks.
func OfThisMachine(domain string) bool { return keyway.IsLoopback(hostOf(domain)) }

func hostOf(registry string) string {
	if i := strings.LastIndexByte(registry, ':'); i > strings.LastIndexByte(registry, ']') {
		return registry[:i]
	}
	return registry
}

// oddError is the reason why a manifest does not describe an image that an engine could take.
type oddError string

func (e oddError) Error() string { return string(e) }

// plausible refuses a manifest that is not of an image, or beyond every image.
func plausible(m *v1.Manifest) error {
	if m.Config.Size < 0 || m.Config.Size > keyway.MaxConfig { // less than 0 is no bound to the library
		return oddError(fmt.Sprintf("it has a configuration of %d bytes", m.Config.Size))
	}
	if len(m.Layers) > keyway.MaxLayers {
		return oddError(fmt.Sprintf("it has %d layers", len(m.Layers)))
	}
	for _, l := range m.Layers {
		if l.Size < 0 || l.Size > keyway.MaxLayerSize {
			return oddError(fmt.Sprintf("it has a layer of %d bytes", l.Size))
		}
	}
	return nil
}

// contents adds the configuration and the layers of an image. The library has compared
// both with their digests.
func contents(p *keyway.Pull, built v1.Image) error {
	m, err := built.Manifest()
	if err != nil {
		return err
	}
	if err := plausible(m); err != nil {
		return err
	}
	config, err := built.ConfigFile()
	if err != nil {
		return err
	}
	if p.Config, err = built.RawConfigFile(); err != nil {
		return err
	}
	if len(m.Layers) != len(config.RootFS.DiffIDs) {
		return oddError(fmt.Sprintf("it has %d layers, and its configuration has %d", len(m.Layers), len(config.RootFS.DiffIDs)))
	}
	for i, l := range m.Layers {
		if len(l.URLs) > 0 || !l.MediaType.IsLayer() {
			return oddError("it has a layer that is elsewhere, or has no files")
		}
		p.Layers = append(p.Layers, keyway.Layer{Digest: l.Digest.String(), DiffID: config.RootFS.DiffIDs[i].String(), Size: l.Size})
	}
	return nil
}
