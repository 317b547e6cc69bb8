package main

import (
	"context"
	"strings"

	"keyway/internal/api"
	"keyway/internal/catalogue"
	"keyway/internal/images"
	"keyway/internal/keyway"
	"keyway/internal/plain"
	"keyway/internal/registry"
)

// placeImage is the image of a workspace that its place is to have.
type placeImage struct {
	app   *app
	there *api.Client
	place keyway.Place
	image string      // as the place is asked for it
	named string      // as the user named it; a pin asks by digest, which only a registry can resolve
	opens images.Want // the image that the place pulls with this laptop's login; the zero value: none
	left  error       // why this laptop's login did not help, and the place pulls the image by itself
}

// create has the place get the image and make the workspace. If ctx ends first, create waits until
// the place has removed an unfinished workspace.
func (i *placeImage) create(ctx context.Context, s keyway.Spec) (keyway.Workspace, error) {
	if err := i.get(ctx); err != nil {
		return keyway.Workspace{}, err
	}
	made, err := i.there.Create(ctx, s, i.app.Heard(i.place))
	i.app.ui.end()
	if ctx.Err() != nil {
		err := i.app.WaitIdle(i.there, s.Name)
		i.app.ui.end()
		return made, err
	}
	return made, i.advise(ctx, err)
}

// get has the place get the image with this laptop's login. If it could not, and the place must
// pull the image by itself, get notes why.
func (i *placeImage) get(ctx context.Context) error {
	if i.opens.Image == "" {
		return nil
	}
	err := images.Pull(ctx, i.there, i.place, i.opens, i.app.Heard(i.place), i.app.UI.Progress)
	i.app.ui.end()
	if why, did := images.Left(err); did {
		i.left = why
		return ctx.Err()
	}
	return i.advise(ctx, err)
}

// advise adds to err how to bring an image to a place that cannot pull it.
func (i *placeImage) advise(ctx context.Context, err error) error {
	if i.image == "" || !keyway.Is(err, keyway.ImageNotFound) {
		return err
	}
	hint := i.app.operatorsBring(ctx, i.place, i.image)
	if hint == "" {
		if keyway.Is(i.left, keyway.ImageNotFound) && keyway.AsError(i.left).Host == "" {
			return i.left
		}
		if i.place == keyway.Local {
			return err
		}
		hint = i.copying(keyway.AsError(err).Nearest)
	}
	return keyway.Errorf(keyway.ImageNotFound, "%s has no image %s, and cannot pull it: %w", i.place, i.image, keyway.Quoted(err)).Hint("%s", hint)
}

// copying returns the advice to copy the image to the place, or to use near, the image there whose
// name is nearest.
func (i *placeImage) copying(near string) string {
	place := plain.Shell(string(i.place))
	hint := plain.Sprintf("if you have it here: keyway image copy local %s %s", place, plain.Shell(i.named))
	if i.named != i.image {
		hint = plain.Sprintf("if %s is that one here: keyway image copy local %s %[1]s", plain.Shell(i.named), place)
	}
	if strings.ContainsRune(i.named, '@') { // only a registry resolves a digest
		hint = "if you have it here, give it a tag and copy it by that: keyway image copy --help"
	}
	if i.opens.Image == "" { // the place has named it
		hint = plain.Sprintf("if your docker login opens it: --image %s\n", plain.Shell(i.image)) + hint
	}
	if isReference(near) {
		hint = "the nearest there: --image " + plain.Shell(near) + "\n" + hint
	}
	return hint
}

// operatorsBring returns the advice for an image that only the place's operators may bring. It
// returns "" if users may copy the image there.
func (a *app) operatorsBring(ctx context.Context, place keyway.Place, image string) string {
	all, err := a.Templates(ctx, place)
	if err != nil || catalogue.Catalogue(all).CheckImport(image, registry.SameImage) == nil {
		return ""
	}
	return plain.Sprintf("%s takes it from its operators only: ask them to bring it there, for example with docker load", place)
}

// maxReference bounds the name of an image, in bytes.
const maxReference = 256

// isReference reports whether a place's word can be the name of an image, and means nothing else
// to a shell or to keyway.
func isReference(word string) bool {
	odd := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-/:@", r))
	}
	return word != "" && len(word) <= maxReference && word[0] != '-' && !strings.ContainsFunc(word, odd)
}
