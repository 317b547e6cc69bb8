package laptop

import (
	"context"

	"keyway/internal/catalogue"
	"keyway/internal/keyway"
)

// Templates returns the templates that the operators of a place have published. Their
// files are the place's words: each is judged here as the place should have judged it.
func (here *Laptop) Templates(ctx context.Context, place keyway.Place) ([]catalogue.Template, error) {
	node, err := here.Node(ctx, place)
	if err != nil {
		return nil, err
	}
	files, err := node.Templates(ctx)
	if err != nil {
		return nil, err
	}
	var all []catalogue.Template
	for _, file := range files {
		t, err := catalogue.Parse(file)
		if err != nil {
			return nil, keyway.Errorf(keyway.Untrusted, "%s sends an invalid template: %w", place, err).
				Advise(keyway.YourTemplate)
		}
		all = append(all, t)
	}
	return all, nil
}
