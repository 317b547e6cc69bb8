package images

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/jsonstream"
	"github.com/moby/moby/client"

	"keyway/internal/engine/docker/daemon"
	"keyway/internal/keyway"
)

// exampleImage is an example of an image's name in advice.
const exampleImage = "pytorch/pytorch:2.8.0-cuda12.6-cudnn9-runtime"

// Ensure pulls the image if the daemon does not have it. It fails if the image cannot be a
// workspace on the daemon's machine.
func (s *Store) Ensure(ctx context.Context, d daemon.Identity, image string, report func(keyway.Progress)) (Facts, error) {
	if image == "" {
		return Facts{}, keyway.Errorf(keyway.Usage, "containers are made from an image, and none was named").
			Advise(keyway.NameImage, exampleImage)
	}
	if _, err := reference.ParseAnyReference(image); err != nil {
		return Facts{}, keyway.Errorf(keyway.Usage, "%q cannot be an image: %w", image, err).
			Advise(keyway.Example, "image", exampleImage)
	}
	facts, err := s.inspect(ctx, image)
	if daemon.IsNotFound(err) {
		if err := s.pull(ctx, d, image, keyway.Login{}, report); err != nil {
			return facts, err
		}
		facts, err = s.inspect(ctx, image)
	}
	if err != nil {
		return facts, s.client.Explain(ctx, err)
	}
	return facts, facts.check(d, image)
}

func otherPlatform(d daemon.Identity, image, why string) *keyway.Error {
	return keyway.Errorf(keyway.ImageNotFound, "the image %s does not run on this machine, which is %s: %s", image, d.Arch, why).
		Hint("take an image for linux/%s; at the place: %s pull --platform linux/%s %s", d.Arch, d.Name(), d.Arch, image)
}

// pull makes the daemon pull the image, with login if that is for its registry.
func (s *Store) pull(ctx context.Context, d daemon.Identity, image string, login keyway.Login, report func(keyway.Progress)) error {
	ref, err := reference.ParseNormalizedNamed(image)
	if err != nil { // an image's ID, which no registry knows
		return s.withNearest(ctx, image, keyway.Errorf(keyway.ImageNotFound, "there is no image %s at the place", image).
			Hint("see which there are: %s image ls", d.Name()))
	}
	report(keyway.Progress{Message: "pulling " + image})
	stream, err := s.client.ImagePull(ctx, image, client.ImagePullOptions{RegistryAuth: s.auth(ctx, reference.Domain(ref), login)})
	if err == nil {
		err = follow(stream, "pulling "+image, report)
		stream.Close()
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err == nil:
		return nil
	case client.IsErrConnectionFailed(err):
		return s.client.Unusable(err)
	}
	return s.withNearest(ctx, image, pullFailed(d, image, daemon.Says(err)))
}

// Bounds on a daemon's messages during a pull.
const (
	maxPullLine   = 1 << 20
	maxPullLayers = 1024
)

// follow reads the messages of a pull, one JSON object a line, and reports how many bytes of all
// layers have arrived.
func follow(stream io.Reader, message string, report func(keyway.Progress)) error {
	lines := bufio.NewScanner(stream)
	lines.Buffer(make([]byte, 0, 8<<10), maxPullLine)
	sum := pullSum{layers: map[string]jsonstream.Progress{}}
	var told time.Time
	for lines.Scan() {
		var m jsonstream.Message
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			return fmt.Errorf("the daemon's news of the pull cannot be read: %w", err)
		}
		if m.Error != nil {
			return m.Error
		}
		if sum.add(m) && time.Since(told) > reportEvery {
			told = time.Now()
			report(sum.progress(message))
		}
	}
	return lines.Err()
}

// reportEvery is the interval between two reports.
const reportEvery = 100 * time.Millisecond

// pullSum adds up the layers of a pull.
type pullSum struct {
	layers map[string]jsonstream.Progress
}

// add adds m. It reports whether the sum changed.
func (s pullSum) add(m jsonstream.Message) bool {
	if m.Progress == nil || m.ID == "" || m.Status != "Downloading" {
		return false
	}
	if _, known := s.layers[m.ID]; !known && len(s.layers) >= maxPullLayers {
		return false
	}
	s.layers[m.ID] = *m.Progress
	return true
}

func (s pullSum) progress(message string) keyway.Progress {
	p := keyway.Progress{Message: message}
	for _, layer := range s.layers {
		p.Done += max(layer.Current, 0)
		p.Total += max(layer.Total, layer.Current, 0)
	}
	return p
}

// pullFailed distinguishes the causes of a failed pull by the messages of registries and daemons:
// the API has no codes for them.
func pullFailed(d daemon.Identity, image, said string) error {
	low := strings.ToLower(said)
	has := func(words ...string) bool {
		for _, w := range words {
			if strings.Contains(low, w) {
				return true
			}
		}
		return false
	}
	switch {
	case daemon.SaysNoSpace(said):
		return daemon.NoSpace(d, said)
	case has("no matching manifest", "no image found in manifest list", "no image found in image index"):
		return otherPlatform(d, image, said)
	case has("toomanyrequests", "rate limit"):
		return keyway.Errorf(keyway.ImageNotFound, "the registry of %s allows no more pulls for now: %s", image, said).
			Hint("log in at the place: %s login\nor wait", d.Name())
	case has("unauthorized", "denied", "authentication required", "no basic auth"):
		return keyway.Errorf(keyway.ImageNotFound, "the image %s does not exist, or you have no access to it: %s", image, said).
			Hint("check the name; if the image is private, log in at the place: %s login %s", d.Name(), registryOf(image))
	case has("manifest unknown", "not found", "does not exist", "name unknown"):
		return keyway.Errorf(keyway.ImageNotFound, "there is no image %s: %s", image, said).
			Hint("check the name and the tag")
	case has("no such host", "dial tcp", "i/o timeout", "connection refused", "network is unreachable", "server misbehaving",
		"timeout exceeded", "deadline exceeded", "tls handshake", "temporary failure in name resolution", "no route to host", "pinging container registry"):
		return keyway.Errorf(keyway.ImageNotFound, "the image %s is not at the place, and its registry cannot be reached from there: %s", image, whyUnreached(said)).
			Advise(keyway.CopyImage, image)
	}
	return keyway.Errorf(keyway.ImageNotFound, "the image %s cannot be pulled: %s", image, said).
		Hint("try it at the place: %s pull %s", d.Name(), image)
}

// unreached maps messages of Go's net and net/http about an unreachable registry to words for
// users. The first match counts.
var unreached = []struct{ said, means string }{
	{"no such host", "its name is not known there"},
	{"server misbehaving", "the name server there does not answer"},
	{"temporary failure in name resolution", "the name server there does not answer"},
	{"network is unreachable", "there is no route to the network"},
	{"no route to host", "there is no route to it"},
	{"connection refused", "nothing listens there"},
	{"tls handshake timeout", "it does not answer"},
	{"i/o timeout", "it does not answer"},
	{"timeout exceeded", "it does not answer"},
	{"deadline exceeded", "it does not answer"},
}

// whyUnreached returns why a registry was not reached. Daemons report the whole chain of their
// calls: Get "https://…": dial tcp: lookup ….
func whyUnreached(said string) string {
	for _, u := range unreached {
		if strings.Contains(strings.ToLower(said), u.said) {
			return u.means
		}
	}
	return said
}

func registryOf(image string) string {
	ref, err := reference.ParseNormalizedNamed(image)
	if err != nil || reference.Domain(ref) == "docker.io" {
		return ""
	}
	return reference.Domain(ref)
}
