package compat

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"keyway/internal/keyway"
	"keyway/internal/lazyregexp"
)

// version is a version in numbers: 535.104.05, 12.6.
type version []int

// maxVersion bounds how many numbers a version has.
const maxVersion = 6

// parseVersion reads numbers with dots between them; nil: not a version.
func parseVersion(s string) version {
	var v version
	for part := range strings.SplitSeq(s, ".") {
		n, err := strconv.Atoi(part)
		if err != nil || n < 0 || len(v) == maxVersion {
			return nil
		}
		v = append(v, n)
	}
	return v
}

// compare compares two versions. A missing number counts as 0.
func (v version) compare(w version) int {
	for i := range max(len(v), len(w)) {
		var a, b int
		if i < len(v) {
			a = v[i]
		}
		if i < len(w) {
			b = w[i]
		}
		if c := cmp.Compare(a, b); c != 0 {
			return c
		}
	}
	return 0
}

func (v version) String() string {
	var parts []string
	for _, n := range v {
		parts = append(parts, strconv.Itoa(n))
	}
	return strings.Join(parts, ".")
}

// row is a CUDA toolkit and the driver that came with it for Linux (CUDA Toolkit
// Release Notes, table 3).
type row struct{ cuda, driver string }

var table = []row{
	{"11.8", "520.61.05"}, {"12.0", "525.60.13"}, {"12.1", "530.30.02"}, {"12.2", "535.54.03"}, {"12.3", "545.23.06"}, {"12.4", "550.54.14"},
	{"12.5", "555.42.02"}, {"12.6", "560.28.03"}, {"12.8", "570.26"}, {"12.9", "575.51.03"}, {"13.0", "580.65.06"}, {"13.1", "590.44.01"},
	{"13.2", "595.45.04"}, {"13.3", "610"}, {"13.4", "615"},
}

// floors are the oldest drivers that run a major version of CUDA at all (minor version
// compatibility; the same notes, table 2).
var floors = map[int]string{11: "450.80.02", 12: "525", 13: "580"}

// Floor returns the oldest driver that runs that version of CUDA at all, or empty if it is not
// known.
func Floor(cuda string) string {
	number, _, _ := strings.Cut(cuda, "-") // 12.6.77-1 of a package
	if v := parseVersion(number); len(v) > 0 {
		return floors[v[0]]
	}
	return ""
}

// Runs reports whether a driver's version is at least floor. It returns true for versions that
// cannot be compared.
func Runs(driver, floor string) bool {
	have := parseVersion(driver)
	return have == nil || floor == "" || atLeast(have, floor)
}

var cudaInTag = lazyregexp.New(`cuda(\d{1,2}\.\d{1,2})`)

// cuda returns the toolkit that the image was built with, as the image says or, failing that, its
// tag.
func (a Asked) cuda() version {
	if v := parseVersion(a.env("CUDA_VERSION")); len(v) >= 2 {
		return v[:2]
	}
	if m := cudaInTag.FindStringSubmatch(a.Spec.Image); m != nil {
		return parseVersion(m[1])
	}
	return nil
}

// driver checks the driver. The first of these that is true decides: it came with that toolkit or
// a later one; it runs the toolkit's major version; the image has a library for older drivers.
// Otherwise it is too old.
func driver(a Asked) []Finding {
	if a.Spec.GPUs.None() {
		return nil
	}
	d := a.Facts.Driver
	if d.Module != "" && d.Library != "" && d.Module != d.Library {
		return fatal(keyway.NoGPU, "restart the place: the new driver was installed, and the old one still runs",
			"the driver in the kernel of %s is %s, and its library is %s: every use of a GPU fails", a.Place, d.Module, d.Library)
	}
	have, need := parseVersion(d.Module), a.cuda()
	if have == nil || need == nil {
		return nil
	}
	if runs := parseVersion(d.CUDA); runs != nil && runs.compare(need) >= 0 || atLeast(have, driverOf(need)) {
		return nil
	}
	floor := parseVersion(floors[need[0]])
	switch {
	case floor != nil && have.compare(floor) >= 0:
		return warning(keyway.NoGPU, "if a kernel fails to load: update the driver to "+cmp.Or(driverOf(need), "a newer one")+", or take an image of CUDA "+newest(have),
			"the driver %s of %s is older than CUDA %s. It runs what was compiled for its GPUs, not what is compiled when it starts (PTX)", d.Module, a.Place, need)
	case a.forward(have):
		return nil
	case floor == nil:
		return nil // a toolkit that this table does not know
	}
	const text = "the image needs CUDA %s, which the driver %s of %s does not run"
	if runsCUDA11Only(have) {
		return advised(fatal(keyway.NoGPU, "", text, need, d.Module, a.Place), keyway.NewerDriver, floor.String(), newest(have), "pytorch-cu118")
	}
	return fatal(keyway.NoGPU, fmt.Sprintf("update the driver to %s or later, or take an image of CUDA %s", floor, newest(have)), text, need, d.Module, a.Place)
}

// driverOf returns the driver that came with a toolkit, or with the next later one
// that is known.
func driverOf(cuda version) string {
	for _, r := range table {
		if parseVersion(r.cuda).compare(cuda) >= 0 {
			return r.driver
		}
	}
	return ""
}

// atLeast reports whether a driver is that one or a later one; false without a driver.
func atLeast(have version, text string) bool {
	want := parseVersion(text)
	return want != nil && have.compare(want) >= 0
}

// newest returns the newest toolkit that a driver runs in full, or the major version that it runs
// at all.
func newest(have version) string {
	for _, r := range slices.Backward(table) {
		if have.compare(parseVersion(r.driver)) >= 0 {
			return r.cuda + " or earlier"
		}
	}
	if have.compare(parseVersion(floors[11])) >= 0 {
		return "11"
	}
	return "10 or earlier"
}

// runsCUDA11Only reports whether CUDA 11 is the newest that a driver runs.
func runsCUDA11Only(have version) bool {
	return have.compare(parseVersion(floors[11])) >= 0 && have.compare(parseVersion(floors[12])) < 0
}

// builds are the GPUs that PyTorch's own builds have code for, by version and toolkit: from one
// compute capability to another (PyTorch's RELEASE.md). Only certain values are listed.
var builds = []struct {
	torch, cuda string
	from, to    string
}{
	{"2.7", "11.8", "5.0", "9.0"}, {"2.7", "12.6", "5.0", "9.0"}, {"2.8", "12.6", "5.0", "9.0"},
	{"2.9", "12.6", "5.0", "9.0"}, {"2.9", "12.8", "7.0", "12.0"}, {"2.9", "13.0", "7.5", "12.0"},
	{"2.10", "12.6", "5.0", "9.0"}, {"2.10", "12.8", "7.0", "12.0"}, {"2.10", "13.0", "7.5", "12.0"},
	{"2.11", "12.8", "7.5", "12.0"},
}

var torchImage = lazyregexp.New(`(?:^|/)pytorch/pytorch:(\d{1,2}\.\d{1,2})[.\d]*-cuda(\d{1,2}\.\d{1,2})-`)

// builtFor checks whether the image has code for the place's GPUs.
func builtFor(a Asked) []Finding {
	m := torchImage.FindStringSubmatch(a.Spec.Image)
	if a.Spec.GPUs.None() || m == nil {
		return nil
	}
	for _, b := range builds {
		if b.torch != m[1] || b.cuda != m[2] {
			continue
		}
		for _, g := range a.Facts.Driver.GPUs {
			compute := parseVersion(g.Compute)
			if compute == nil {
				continue
			}
			if compute.compare(parseVersion(b.from)) < 0 || compute[0] > parseVersion(b.to)[0] {
				return fatal(keyway.NoGPU, other(compute, parseVersion(b.from)),
					"PyTorch %s for CUDA %s has no code for the %s of %s (compute capability %s; it has %s to %s)", b.torch, b.cuda, g.Model, a.Place, g.Compute, b.from, b.to)
			}
		}
	}
	return nil
}

// other advises which build to take instead.
func other(compute, from version) string {
	if compute.compare(from) < 0 {
		return "take an image of CUDA 12.6, which has code for older GPUs"
	}
	return "take an image of CUDA 12.8 or later, which has code for newer GPUs"
}
