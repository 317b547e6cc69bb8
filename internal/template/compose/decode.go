package compose

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/interpolation"
	"github.com/compose-spec/compose-go/v2/tree"
	"github.com/go-viper/mapstructure/v2"

	"keyway/internal/template/document"
	"keyway/internal/template/fields"
)

// casts lists the fields that compose-go accepts only as a number before it decodes them. A
// variable leaves them as text.
var casts = func() map[tree.Path]interpolation.Cast {
	m := map[tree.Path]interpolation.Cast{}
	for _, path := range []string{"ulimits.*", "ulimits.*.soft", "ulimits.*.hard", "ports.[].target"} {
		m[tree.Path("services.*."+path)] = func(text string) (any, error) { return strconv.Atoi(text) }
	}
	return m
}()

// decode converts a canonical model into compose-go's types.
func decode(model map[string]any, into any) error {
	d, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{
		DecodeHook: mapstructure.ComposeDecodeHookFunc(ownDecoder, fromText), Result: into, TagName: "yaml", Squash: true,
	})
	if err != nil {
		return err
	}
	return d.Decode(model)
}

// ownDecoder returns a decode hook that lets types of compose-go with a decoder of their own
// use it.
func ownDecoder(from, to reflect.Value) (any, error) {
	type decoder interface{ DecodeMapstructure(any) error }
	if to.Kind() == reflect.Pointer && to.IsNil() {
		if _, ok := to.Interface().(decoder); ok {
			to.Set(reflect.New(to.Type().Elem()))
		}
	}
	own, ok := to.Interface().(decoder)
	if !ok && to.CanAddr() {
		own, ok = to.Addr().Interface().(decoder)
	}
	if !ok {
		return from.Interface(), nil
	}
	err := own.DecodeMapstructure(from.Interface())
	return to.Interface(), err
}

// fromText returns a decode hook that accepts a number or a switch as text, which is what a
// variable gives.
func fromText(from, to reflect.Value) (any, error) {
	if from.Kind() != reflect.String {
		return from.Interface(), nil
	}
	switch text := from.String(); to.Kind() {
	case reflect.Bool:
		if truth, ok := fields.Truth(text); ok {
			return truth, nil
		}
		return nil, errNoTruth
	case reflect.Int, reflect.Int64:
		return strconv.ParseInt(text, 10, 64)
	case reflect.Float32:
		f, err := strconv.ParseFloat(text, 32)
		return float32(f), err
	}
	return from.Interface(), nil
}

var errNoTruth = errors.New("it must be true or false")

// misformed returns an error of decode with the field and the line that it is about. Of several
// errors it takes the first.
func (d source) misformed(err error, names []string) error {
	var failed *mapstructure.DecodeError
	if !errors.As(err, &failed) {
		return d.explain(err)
	}
	path := strings.FieldsFunc(failed.Name(), func(r rune) bool { return r == '.' || r == '[' || r == ']' })
	if len(path) > 0 {
		path[0] = strings.ToLower(path[0])
	}
	shown := strings.Join(path, ".")
	if len(path) > 2 && path[0] == "services" {
		shown = strings.Join(path[2:], ".")
		path[1] = d.having(names, path[2])
	}
	must, next := demanded(failed)
	return d.Errorf(document.At(d.Root, path), "%.200s %s", shown, must).Hint("%s", next)
}

// having returns the first of the services that has the field.
func (d source) having(names []string, name string) string {
	for _, service := range names {
		if n, err := d.service(service); err == nil && document.Field(n, name) != nil {
			return service
		}
	}
	return names[0]
}

// demanded returns, for an error of decode, the required form of the value and an example.
func demanded(err error) (must, next string) {
	var form *mapstructure.UnconvertibleTypeError
	if !errors.As(err, &form) {
		if inner := errors.Unwrap(err); inner != nil {
			err = inner
		}
		var number *strconv.NumError
		if errors.As(err, &number) {
			return fmt.Sprintf("cannot be %.80q", number.Num), howWritten
		}
		return fmt.Sprintf("cannot have this value: %.300s", strings.Join(strings.Fields(err.Error()), " ")), howWritten
	}
	switch form.Expected.Kind() {
	case reflect.String:
		return "must be a string", "put it in quotes: \"…\""
	case reflect.Bool:
		return "must be true or false", howWritten
	case reflect.Int, reflect.Int64, reflect.Float32, reflect.Float64:
		return "must be a number", howWritten
	case reflect.Slice:
		return "must be a list", "write it as [A, B]"
	}
	return "must have fields", howWritten
}
