package keyway

import (
	"fmt"
	"reflect"
	"strings"
	"unicode"
	"unicode/utf8"
)

// CheckTexts returns an error for the first text in v, a value that is sent as JSON, that would not
// arrive unchanged: JSON has no bytes that are not UTF-8, and makes other characters of them, so
// that a path would name another directory. A NUL ends a text for the system, and is refused, too,
// as are control characters in the key of a map. Bytes in a []byte may be anything.
func CheckTexts(v any) error { return checkTexts(reflect.ValueOf(v), "") }

// optionOf is the word of docker run for a field whose name is another.
var optionOf = map[string]string{"mounts": "volume", "labels": "label", "devices": "device", "homeVolume": "home-volume"}

func checkTexts(v reflect.Value, option string) error {
	switch v.Kind() {
	case reflect.String:
		return checkText(v.String(), option)
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			return checkTexts(v.Elem(), option)
		}
	case reflect.Slice:
		for i := 0; v.Type().Elem().Kind() != reflect.Uint8 && i < v.Len(); i++ {
			if err := checkTexts(v.Index(i), option); err != nil {
				return err
			}
		}
	case reflect.Map:
		for each := v.MapRange(); each.Next(); {
			if err := checkName(each.Key().String(), option); err != nil {
				return err
			}
			if err := checkTexts(each.Value(), option+" "+fmt.Sprintf("%.80q", each.Key())); err != nil {
				return err
			}
		}
	case reflect.Struct:
		return checkFields(v, option)
	}
	return nil
}

func checkFields(v reflect.Value, option string) error {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		of := option
		if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); of == "" && name != "" {
			if of = name; optionOf[name] != "" {
				of = optionOf[name]
			}
		}
		if !field.IsExported() {
			continue
		}
		if err := checkTexts(v.Field(i), of); err != nil {
			return err
		}
	}
	return nil
}

// checkName checks the name of a variable or a label, which tools print in one line.
func checkName(name, option string) error {
	if err := checkText(name, option); err != nil || !strings.ContainsFunc(name, unicode.IsControl) {
		return err
	}
	return Errorf(Usage, "%s: the name %.200q has a control character", option, name)
}

func checkText(text, option string) error {
	what := "is not UTF-8"
	if utf8.ValidString(text) {
		if strings.IndexByte(text, 0) < 0 {
			return nil
		}
		what = "has a NUL"
	}
	if option == "login" {
		return Errorf(Usage, "a part of the registry's login %s, and cannot be sent", what)
	}
	return Errorf(Usage, "%s: %.200q %s, and cannot be sent", strings.TrimSpace(option), text, what).Advise(TextOnly)
}
