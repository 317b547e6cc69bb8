package keyway

import "slices"

// Differing returns the names under which two maps differ, in order.
func Differing(a, b map[string]string) []string {
	var names []string
	for name, value := range a {
		if other, there := b[name]; !there || other != value {
			names = append(names, name)
		}
	}
	for name := range b {
		if _, there := a[name]; !there {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
