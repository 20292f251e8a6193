//! Statement texts: whatever comes is a descriptor or a refusal, and a descriptor stays what it is.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use txcat::domain::{Descriptor, DescriptorKey, pii};

fuzz_target!(|text: &str| -> Corpus {
    let Ok(descriptor) = Descriptor::parse(text) else { return Corpus::Keep };
    // What is stored is what comes back out of the store.
    let again = Descriptor::parse(descriptor.raw()).expect("what was cleaned is a descriptor");
    assert_eq!(again.raw(), descriptor.raw());
    assert_eq!(again.key(), descriptor.key());
    assert_eq!(DescriptorKey::from_stored(descriptor.key().as_str()), *descriptor.key());
    assert!(!descriptor.merchant().is_empty());
    assert!(!descriptor.raw().contains('\0'));
    let _ = (descriptor.processor(), descriptor.store_number(), descriptor.order_code(), descriptor.phone());
    let _ = (descriptor.masked_card(), descriptor.date(), descriptor.place());
    for found in pii::find(descriptor.raw()) {
        assert!(descriptor.raw().get(found.at.clone()).is_some(), "{found:?} cuts a character");
    }
    Corpus::Keep
});
