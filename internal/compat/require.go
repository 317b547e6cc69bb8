package compat

import (
	"maps"
	"slices"
	"strings"

	"keyway/internal/keyway"
)

// NVIDIA's runtime refuses a container whose image has a variable NVIDIA_REQUIRE_…
// that does not hold: alternatives with spaces between them, of conditions with commas
// between them.

// maxRequire bounds the text of a requirement in bytes.
const maxRequire = 16 << 10

// host holds the facts that requirements refer to.
type host struct {
	cuda, driver, arch version
	brand              string
}

// hosts returns the place's GPUs in the terms of requirements.
func (a Asked) hosts() []host {
	d := a.Facts.Driver
	var all []host
	for _, g := range d.GPUs {
		all = append(all, host{cuda: parseVersion(d.CUDA), driver: parseVersion(d.Module), arch: parseVersion(g.Compute),
			brand: strings.ToLower(strings.ReplaceAll(g.Brand, " ", ""))})
	}
	return all
}

// disableRequire is the variable with which NVIDIA's runtime starts an image whatever it
// requires.
const disableRequire = "NVIDIA_DISABLE_REQUIRE"

// requirements returns the requirements, of the image and of the workspace's own variables, that
// the place does not meet.
func requirements(a Asked) []Finding {
	if a.Spec.GPUs.None() || !a.Facts.Engine.Images || isTrue(a.env(disableRequire)) {
		return nil
	}
	env := a.variables()
	for _, name := range slices.Sorted(maps.Keys(env)) {
		text := env[name]
		if !strings.HasPrefix(name, "NVIDIA_REQUIRE_") || len(text) > maxRequire {
			continue
		}
		for _, h := range a.hosts() {
			if held, known := holds(text, h); known && !held {
				return advised(fatal(keyway.NoGPU, "update the driver, or take an image of an earlier CUDA",
					"the image %s refuses to start with the driver %s of %s (%s)", a.Spec.Image, a.Facts.Driver.Module, a.Place, name),
					keyway.SetIfItRuns, disableRequire+"=1")
			}
		}
	}
	return nil
}

func isTrue(s string) bool { return s == "1" || strings.EqualFold(s, "true") }

// holds reports whether one of the alternatives holds; not known: one may, that is
// about something which the place did not tell.
func holds(text string, h host) (held, known bool) {
	known = true
	alternatives := strings.Fields(text)
	for _, alternative := range alternatives {
		all, certain := true, true
		for condition := range strings.SplitSeq(alternative, ",") {
			is, told := h.meets(condition)
			if told && !is {
				all = false
			}
			certain = certain && told
		}
		switch {
		case all && certain:
			return true, true
		case all:
			known = false
		}
	}
	return len(alternatives) == 0, known
}

// meets reports whether a condition such as driver>=470 holds; not told: the place does not report
// it, or the condition is unknown.
func (h host) meets(condition string) (is, told bool) {
	at := strings.IndexAny(condition, "<>=!")
	if at < 0 {
		return false, false
	}
	name, rest := condition[:at], condition[at:]
	wanted := strings.TrimLeft(rest, "<>=!")
	operator := rest[:len(rest)-len(wanted)]
	if name == "brand" {
		return operator == "=" == (h.brand == strings.ToLower(wanted)), h.brand != "" && (operator == "=" || operator == "!=")
	}
	have, want := map[string]version{"cuda": h.cuda, "driver": h.driver, "arch": h.arch}[name], parseVersion(wanted)
	if have == nil || want == nil {
		return false, false
	}
	c := have.compare(want)
	is, told = map[string]bool{"=": c == 0, "==": c == 0, "!=": c != 0, "<": c < 0, "<=": c <= 0, ">": c > 0, ">=": c >= 0}[operator]
	return is, told
}

// dataCentre are the brands whose drivers take the library that an image brings for
// older drivers (CUDA forward compatibility).
var dataCentre = []string{"tesla", "nvidia"}

// forward reports whether the image declares such a library for this driver:
// one of its alternatives names the brand and the driver's branch.
func (a Asked) forward(have version) bool {
	text := a.env("NVIDIA_REQUIRE_CUDA")
	if len(text) > maxRequire {
		return false
	}
	for _, h := range a.hosts() {
		if !slices.Contains(dataCentre, h.brand) {
			continue
		}
		for alternative := range strings.FieldsSeq(text) {
			if held, known := holds(alternative, host{driver: have, brand: h.brand}); held && known && strings.Contains(alternative, "brand=") {
				return true
			}
		}
	}
	return false
}
