package main

var link = []mutant{}
