package main

import (
	"context"
	"io"
	"slices"
	"strings"

	"keyway/internal/api"
	"keyway/internal/compat"
	"keyway/internal/keyway"
	"keyway/internal/pin"
	"keyway/internal/plain"
)

// pinnedUp is the pin by which a workspace is made. It is nil if none was requested.
type pinnedUp struct {
	pin.Pin
	lock string // a path
}

// pinned finds the pin for the place's architecture, and changes s to request the image that it
// names. It refuses a template or a command line that contradicts the pin.
func (o upOptions) pinned(ctx context.Context, a *app, there api.Node, place keyway.Place, from asked, s keyway.Spec) (*pinnedUp, keyway.Spec, error) {
	if from.from.Name == "" {
		return nil, s, keyway.Errorf(keyway.Usage, "--pinned is for templates, and none was named").Advise(keyway.SeeTemplates)
	}
	t := pinnable{asked: from, lock: lockFile(from)}
	lock, err := readLock(t)
	if err != nil {
		return nil, s, err
	}
	if lock.Meddled() {
		return nil, s, keyway.Errorf(keyway.Drifted, "%s was changed by other means than keyway pin", t.lock).
			Hint("restore it from where it came from, or make it again: %s", t.pinCommand())
	}
	facts, err := there.Facts(ctx, s)
	if err != nil {
		return nil, s, err
	}
	p, others, ok := lock.Find(t.from.Name, facts.Arch)
	if !ok {
		return nil, s, keyway.Errorf(keyway.Drifted, "%s is for %s, and %s is %s", t.lock, strings.Join(others, ", "), place, facts.Arch).
			Hint("pin it there, too: keyway up %[1]s --on %[2]s; keyway pin %[1]s --on %[2]s", plain.Shell(t.from.Name), plain.Shell(string(place)))
	}
	if other := p.CompareSpec(t.from.File, s); len(other) > 0 {
		return nil, s, keyway.Errorf(keyway.Drifted, "the options differ from %s: %s", t.lock, strings.Join(fieldNames(other), ", ")).
			Hint("%s; if the template was changed: %s", asPinned(other), t.pinCommand())
	}
	if !compat.Runs(facts.Driver.Module, p.DriverFloor) {
		return nil, s, keyway.Errorf(keyway.NoGPU, "the driver %s of %s does not run what is pinned, which needs %s or newer", facts.Driver.Module, place, p.DriverFloor).
			Hint("update the driver there")
	}
	asks := s.Image
	if s.Image, err = pinnedImage(p, place, asks, facts.Engine.Image); err != nil {
		if hint := a.operatorsBring(ctx, place, asks); hint != "" {
			err = keyway.AsError(err).Hint("%s", hint)
		}
	}
	return &pinnedUp{p, t.lock}, s, err
}

// asPinned returns advice about options that differ from a pin's. A lock may come with a
// repository, so options that only the user may choose must be typed.
func asPinned(other []pin.Difference) string {
	var add []string
	for _, d := range other {
		if d.Want != "" && slices.Contains(pin.ChosenFields, d.Field) {
			add = append(add, "--"+d.Field+" "+plain.Shell(d.Want))
		}
	}
	if len(add) == 0 {
		return "leave out the options that differ"
	}
	return "choose what was chosen for the pin, if you agree with it: " + strings.Join(add, " ")
}

// pinnedImage returns the reference by which the place gets the pinned image: the digest, unless
// the place already has the image under its own name.
func pinnedImage(p pin.Pin, place keyway.Place, image string, present keyway.ImageFacts) (string, error) {
	switch {
	case p.Image.ID == "" && len(p.Image.Digests) == 0, present.Present && present.Identity().Same(p.Image):
		return image, nil
	case len(p.Image.Digests) > 0:
		return pin.ByDigest(image, p.Image.Digests[0]), nil
	}
	return "", keyway.Errorf(keyway.ImageNotFound, "%s does not have the pinned image %s, and no registry has it", place, image).
		Hint("bring it there from a place that has it: keyway image copy PLACE %s %s", plain.Shell(string(place)), plain.Shell(image))
}

// verify reports how a new workspace differs from the pin.
func (p *pinnedUp) verify(ctx context.Context, there api.Node, place keyway.Place, name keyway.Name, news io.Writer) error {
	if p == nil {
		return nil
	}
	found, err := there.Environments(ctx, []keyway.Name{name})
	if err != nil {
		return err
	}
	if found[0].Error != nil {
		return found[0].Error
	}
	all := p.Compare(string(place)+"/"+string(name), found[0])
	if len(all) == 0 {
		return nil
	}
	if _, err := io.WriteString(news, driftTable(all, windowOf(news))); err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(d pin.Difference) bool { return slices.Contains(pin.PlaceFields, d.Field) })
	if len(all) == 0 {
		return nil
	}
	return keyway.Errorf(keyway.Drifted, "%s is up, and is not as it is pinned: %s", name, strings.Join(fieldsOf(all), ", ")).
		Hint("see what its setup installs, and name versions there; then: keyway pin %s", plain.Shell(p.Template))
}
