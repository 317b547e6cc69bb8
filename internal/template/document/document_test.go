package document

import (
	"strings"
	"testing"

	"keyway/internal/keyway"
)

// TestNoKeyTwice checks that a repeated key is refused, since it would be unclear which of the two
// counts.
func TestNoKeyTwice(t *testing.T) {
	for text, at := range map[string]string{
		"services:\n  a: {image: x}\n  a: {image: y}\n":                               "keyway.yaml:3: \"a\"",
		"services:\n  a: {image: x}\nservices:\n  b: {image: y}\n":                    "keyway.yaml:3: \"services\"",
		"services:\n  a:\n    image: x\n    image: y\n":                               "keyway.yaml:4: \"image\"",
		"services:\n  a:\n    image: x\n    environment: {A: 1, \"A\": 2}\n":          "keyway.yaml:4: \"A\"",
		"x-a: &k a\nservices:\n  *k : {image: x}\n  a: {image: y}\n":                  "keyway.yaml:4: \"a\"",
		"x-a: &k {image: z}\nservices:\n  a:\n    <<: *k\n    image: x\n    <<: *k\n": "keyway.yaml:6: \"<<\"",
	} {
		_, err := Parse("keyway.yaml", []byte(text))
		if !keyway.Is(err, keyway.BadConfig) || !strings.HasPrefix(err.Error(), at+" is there twice") {
			t.Errorf("%s\n%v, want %s", text, err, at)
		}
	}
	if _, err := Parse("keyway.yaml", []byte("x-a: &k {image: z}\nservices:\n  a: {<<: *k, image: x}\n  b: {<<: *k}\n")); err != nil {
		t.Error(err)
	}
}
