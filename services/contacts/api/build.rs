fn main() -> Result<(), String> {
    rapport_codegen::service("contacts")
}
