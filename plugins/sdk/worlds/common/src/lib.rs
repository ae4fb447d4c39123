//! What `wit-bindgen` makes of the interfaces that all worlds share. A crate of its own: a plugin that used them from the crate of
//! another world would get that world's exports too.

wit_bindgen::generate!({
    path: "../../../../wit",
    inline: "
        package vitals:sdk;

        world shared {
            import vitals:plugin/types@0.2.0;
            import vitals:plugin/log@0.2.0;
        }
    ",
    world: "vitals:sdk/shared",
    generate_unused_types: true,
    generate_all,
});
