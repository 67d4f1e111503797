fn main() -> Result<(), String> {
    rapport_codegen::generate(&rapport_codegen::Api {
        folders: &["rapport/common/v1", "third_party/google/rpc", "third_party/google/type"],
        permission_prefix: None,
        types: "crate",
        extern_paths: &[],
    })
}
